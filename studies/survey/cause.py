"""One cause of FAILs of the survey, and the test that confirms it without the kit."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

CONFIRMED = "confirmed"
BY_DESIGN = "by design"

#: Any check.
EVERY = ("*",)

#: What fails where a log-det is float32 for float64 input.
NARROW = (
    "shapes_and_dtypes",
    "logdet_matches_jacobian",
    "inverse_logdet_matches_jacobian",
    "logdets_cancel",
    "gradient_of_logdet",
    "gradient_of_inverse_logdet",
)

#: What fails where one direction keeps float32 digits for float64 input.
ROUND_TRIP = ("inverse_undoes_forward", "forward_undoes_inverse", "gradient_of_inverse")


@dataclass(frozen=True)
class Cause:
    """One cause of FAILs.

    Args:
        library: one of :data:`studies.survey.SURVEYED`.
        layers: names of entries, with ``*`` for any text.
        checks: the checks that it makes fail, ``*`` for any.
        text: what is so, in one or two sentences.
        test: the function in ``tests/test_survey_findings*.py`` that shows it without emcheck.
        kind: ``CONFIRMED``, or ``BY_DESIGN`` for what the library documents.
    """

    library: str
    layers: tuple[str, ...]
    checks: tuple[str, ...]
    text: str
    test: str
    kind: str = CONFIRMED

    def covers(self, library: str, layer: str, check: str) -> bool:
        """Whether a FAIL of this check on this layer comes from here."""
        return (
            library == self.library
            and any(fnmatchcase(layer, name) for name in self.layers)
            and any(fnmatchcase(check, name) for name in self.checks)
        )
