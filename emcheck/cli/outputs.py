"""The files that ``emcheck check`` writes besides its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emcheck._internal.files import require_writable, write_file

if TYPE_CHECKING:
    from emcheck.report import Report


@dataclass(frozen=True)
class Outputs:
    """Where the reports go besides the terminal.

    Args:
        targets: what was checked, in the order of the reports.
        json, junit, sarif, html: a file of this format, or None.

    Raises:
        ValueError: several targets with ``json``, which holds one report.
        FileError: a file that cannot be written, before any work is done.
    """

    targets: tuple[str, ...]
    json: Path | None = None
    junit: Path | None = None
    sarif: Path | None = None
    html: Path | None = None

    def __post_init__(self) -> None:
        if self.json is not None and len(self.targets) > 1:
            raise ValueError(f"expected one target with --json, got {len(self.targets)}")
        for path in (self.json, self.junit, self.sarif, self.html):
            if path is not None:
                require_writable(path)

    def write(self, reports: Sequence[Report]) -> None:
        """Write the reports so far, so that a run that is stopped loses none."""
        forms: tuple[tuple[Path | None, Callable[[Sequence[Report]], bytes]], ...] = (
            (self.json, _json),
            (self.junit, _junit),
            (self.sarif, self._sarif),
            (self.html, _html),
        )
        for path, form in forms:
            if path is not None:
                write_file(path, form(reports))

    def _sarif(self, reports: Sequence[Report]) -> bytes:
        from emcheck.report.sarif import sarif_of

        return sarif_of(reports, self.targets[: len(reports)], Path.cwd())


def _json(reports: Sequence[Report]) -> bytes:
    from emcheck.report.provenance import provenance

    return reports[-1].to_json(provenance()).encode()


def _junit(reports: Sequence[Report]) -> bytes:
    from emcheck.report.junit import junit_of

    return junit_of(reports)


def _html(reports: Sequence[Report]) -> bytes:
    from emcheck.report.html import page

    title = ", ".join(f"{report.layer} on {report.shape}" for report in reports)
    return page(title, [report._repr_html_() for report in reports]).encode()
