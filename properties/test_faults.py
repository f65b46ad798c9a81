"""Every check has failed on a fault that it is named for; no correct twin is ever flagged."""

from __future__ import annotations

import math
from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from emcheck.bounds import THRESHOLDS
from emcheck.checks import CHECKS, Subject
from emcheck.faults import FAULTS, Row, run_fault
from emcheck.faults.core import Faulty, fault
from emcheck.faults.round_trip_test import USUAL_ATOL, usual_test
from emcheck.layers import Conv1x1, PermuteChannels
from emcheck.result import Verdict

SEED = 0

#: One fault per kind of rule: theorem, normwise, agreement, differences, quadrature, yes or no.
OUT_OF_TOLERANCE = (
    "dilation_ignored",
    "half_spectrum_for_odd_width",
    "inverse_keeps_the_sign",
    "detached_logdet",
    "divided_by_dimensions",
    "stale_inverse",
)

#: Invisible where the log-det is 0 (an orthogonal or identical start), where both directions
#: share the mistake, or at a tolerance that single precision needs.
USUALLY_MISSED = (
    "pixels_forgotten",
    "inverse_keeps_the_sign",
    "factor_omitted",
    "mask_scaled",
    "jacobi_stopped_early",
    "single_precision_inverse",
)
USUALLY_SEEN = ("dilation_ignored", "gate_without_offset", "summed_over_the_batch")


@pytest.mark.parametrize("name", FAULTS)
def test_killed(name: str, record_property: Callable[[str, object], None]) -> None:
    """By the check that is named for it; from the reference profile on all others are tried."""
    every = settings.default.max_examples >= settings.get_profile("reference").max_examples
    rows = run_fault(FAULTS[name], SEED, None if every else [FAULTS[name].check])
    for row in rows:
        record_property("emcheck", row.to_record())
    named = _named(rows)
    told = f"{named.check}: {named.verdict} {named.ratio:.3g} of {named.threshold:.3g}"
    assert named.kills, f"{FAULTS[name].summary} survived {told} {named.detail}"
    assert named.twin_verdict is Verdict.PASS, f"{named.check} on the twin: {named.twin_detail}"
    assert not _flagged(rows), f"the correct twin {FAULTS[name].twin.__name__} was flagged"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FAULTS)
def test_no_check_flags_a_correct_twin(name: str) -> None:
    assert not _flagged(run_fault(FAULTS[name], SEED))


def _flagged(rows: list[Row]) -> dict[str, str]:
    """The checks that accuse the twin, with what they say."""
    return {row.check: row.twin_detail for row in rows if row.twin_verdict is Verdict.FAIL}


def _named(rows: list[Row]) -> Row:
    (named,) = (row for row in rows if row.check == row.killer)
    return named


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_has_a_fault(name: str) -> None:
    assert [f.name for f in FAULTS.values() if f.check == name]


def test_the_catalogue_is_whole() -> None:
    for name, seeded in FAULTS.items():
        assert seeded.name == name
        assert seeded.check in CHECKS
        assert CHECKS[seeded.check].applies(seeded.subject())
        assert seeded.provenance.endswith(".")
        assert seeded.summary.endswith(".")


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="expected a new name"):

        @fault("logdets_cancel", Conv1x1, "Nowhere.")
        class StaleInverse(Faulty[Conv1x1]):
            """Nothing is wrong."""


def test_the_same_seed_gives_the_same_rows() -> None:
    seeded, checks = FAULTS["mask_scaled"], ["forward_matches_definition", "logdets_cancel"]
    assert run_fault(seeded, 3, checks) == run_fault(seeded, 3, checks)


@pytest.mark.parametrize("name", FAULTS)
def test_the_usual_test_passes_every_twin(name: str) -> None:
    """It is beaten on its own ground: what it misses, it does not miss for being too strict."""
    seeded = FAULTS[name]
    assert usual_test(seeded.twin_subject(), SEED, seeded.options) == ""


@pytest.mark.parametrize("name", USUALLY_MISSED)
def test_the_usual_test_misses_the_classics(name: str) -> None:
    (row,) = run_fault(FAULTS[name], SEED, [FAULTS[name].check])
    assert row.kills
    assert (row.usual, row.usual_twin) == (Verdict.PASS, Verdict.PASS)
    assert (row.to_record()["usual"], row.to_record()["usual_twin"]) == ("PASS", "PASS")


@pytest.mark.parametrize("name", USUALLY_SEEN)
def test_the_usual_test_is_a_test(name: str) -> None:
    (row,) = run_fault(FAULTS[name], SEED, [FAULTS[name].check])
    assert (row.usual, row.usual_twin) == (Verdict.FAIL, Verdict.PASS)


@pytest.mark.parametrize("name", ["x", "logdet"])
@pytest.mark.parametrize(("share", "seen"), [(0.9, False), (1.1, True), (math.nan, True)])
def test_the_usual_tolerance_is_one_number(name: str, share: float, seen: bool) -> None:
    """An offset of the inverse's two outputs, just below and just above the tolerance."""

    class Offset(Faulty[PermuteChannels]):
        def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
            x, logdet = self.layer.inverse(torch.zeros_like(z))
            offset = share * USUAL_ATOL
            return (x + offset, logdet) if name == "x" else (x, logdet + offset)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.layer(x.mul_(0))  # zeros, where nothing is rounded

    subject = Subject("offset", lambda case: Offset(PermuteChannels(case.event[0])))
    complaint = usual_test(subject, SEED)
    assert (complaint != "") is seen, complaint


@pytest.mark.parametrize("name", OUT_OF_TOLERANCE)
def test_a_check_with_an_infinite_tolerance_kills_nothing(name: str) -> None:
    """The fault of the kit itself: the test above would notice a check that cannot fail."""
    seeded = FAULTS[name]
    assert _named(run_fault(seeded, SEED, [seeded.check])).kills
    with patch.dict(THRESHOLDS, dict.fromkeys(THRESHOLDS, math.inf)):
        (row,) = run_fault(seeded, SEED, [seeded.check])
    assert not row.kills
    assert row.verdict is Verdict.PASS
