"""The folder of the suite's own files: beside the package in a checkout, none in a wheel."""

from __future__ import annotations

from pathlib import Path

_BESIDE = Path(__file__).parents[2]

#: The folder of the checkout, None if the package was installed without it.
ROOT: Path | None = _BESIDE if (_BESIDE / "properties" / "conftest.py").is_file() else None

#: Where reports are kept by default: in the checkout, or else in the working directory.
REPORTS = (ROOT or Path()) / "reports"


def needed(what: str) -> Path:
    """Return the folder of the checkout.

    Raises:
        ValueError: there is none; ``what`` says what needs it.
    """
    if ROOT is None:
        raise ValueError(
            f"{what} needs a checkout of emcheck with its folders studies/, properties/ and "
            "benches/, got an installed package; emcheck check works without"
        )
    return ROOT
