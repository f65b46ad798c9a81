"""The table to choose by: what is computed is right, and the sentences follow from the numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from emcheck.flows.mixing import MIXINGS
from studies.choosing.candidates import CANDIDATES, CHOSEN
from studies.choosing.figure import _rights, _rises, draw
from studies.choosing.kernels import CHANNELS, SIDE, reach
from studies.choosing.page import page
from studies.choosing.table import bits_frame, choosing_frame
from studies.choosing.write import write_choosing
from studies.density.cell import RIVAL
from studies.density.report.load import Density

C2, EVERYWHERE = CHANNELS**2, SIDE**2


@pytest.fixture(scope="module")
def unmeasured() -> pd.DataFrame:
    return choosing_frame(None, None)


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Made-up numbers, larger further down."""
    numbers = pd.Series(range(1, len(frame) + 1), dtype=float)
    columns = ("forward", "inverse", "training_step", "sampling", "equal_time")
    more = ("equal_parameters", "condition", "round_trip")
    return frame.assign(**dict.fromkeys((*columns, *more), numbers))


def test_every_mixing_that_is_no_permutation_has_its_row() -> None:
    assert set(CHOSEN) == set(MIXINGS) - {"reversed", "shuffled"}
    assert set(CANDIDATES) == set(CHOSEN)


@pytest.mark.parametrize(
    ("mixing", "dimension", "seen", "seen_by_inverse"),
    [
        ("1x1", C2, 1, 1),
        ("plu", C2, 1, 1),
        ("qr", C2, 1, 1),
        # A product of two masked kernels of four taps each: 2 of 9 directions are lost.
        (RIVAL, 7 * C2, 9, EVERYWHERE),
        ("1x1+raster", 9 * C2, 13, EVERYWHERE),
        ("periodic", 9 * C2, 9, EVERYWHERE),
    ],
)
def test_reach_is_what_is_known(
    mixing: str, dimension: int, seen: int, seen_by_inverse: int
) -> None:
    found = reach(mixing)
    assert (found.dimension, found.seen, found.seen_by_inverse) == (
        dimension,
        seen,
        seen_by_inverse,
    )
    assert found.dimension is not None
    assert found.parameters >= found.dimension


def test_what_was_not_measured_is_said(unmeasured: pd.DataFrame) -> None:
    text = page(unmeasured, None)
    assert text.count("not measured.") == 3
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    assert "not measured" in draw(unmeasured).decode()


def test_the_situations_follow_from_the_numbers(unmeasured: pd.DataFrame) -> None:
    frame = measured(unmeasured)
    text = page(frame, None)
    spatial = frame.loc[frame["seen"] > 1, "mixing"].iloc[0]
    assert f"*Fast sampling*: `1x1`; of those that mix pixels `{spatial}`, in 4.00 times" in text
    assert f"*Safe conditioning*: of those that mix pixels `{spatial}`" in text
    for name in CHOSEN:
        assert f"**`{name}`**: Take it" in text
    assert draw(frame) == draw(frame)


MARKS = [
    {"mixing": "a", "seen": 9, "inverse": 4.0, "equal_time": 3.880},
    {"mixing": "b", "seen": 9, "inverse": 5.0, "equal_time": 3.881},
    {"mixing": "c", "seen": 1, "inverse": 4.0, "equal_time": 3.882},  # on the other side
    {"mixing": "d", "seen": 9, "inverse": 90.0, "equal_time": 3.883},  # beside them
    {"mixing": "e", "seen": 9, "inverse": 4.0, "equal_time": 4.880},
]


def test_labels_of_near_marks_stand_above_each_other() -> None:
    a, b, c, d, e = _rises(MARKS, [True, True, False, True, True])
    assert c == d == e == 0.0
    assert 6 < a <= 8  # over the mark of b, which its label would cover
    assert 8 < b + 170 * 0.001 - a <= 9.1


def test_labels_give_way_to_the_left_of_a_mark_beside_them_and_of_the_frame() -> None:
    assert _rights(MARKS) == [False, True, False, False, True]


def trained(*rows: tuple[str, str, list[float]], data: str = "galaxies") -> Density:
    """A sweep in which a variant has these bits per dimension, from seed 0 on."""
    cells = [
        {"data": data, "seed": seed, "budget": 1200, "diverged": "", "test": bits}
        | {"variant": f"{mixing}, matched {control}" if control else mixing}
        | {"condition": 2.0 + seed, "fidelity_image": 0.1}
        for mixing, control, values in rows
        for seed, bits in enumerate(values)
    ]
    none = pd.DataFrame()
    return Density(pd.DataFrame(cells), none, none, none, none, {}, [])


def test_bits_are_means_over_what_all_mixings_have() -> None:
    density = trained(
        (RIVAL, "", [3.0, 4.0]), ("1x1", "time", [3.5]), ("1x1", "parameters", [3.7, 4.7])
    )
    frame = choosing_frame(density, None).set_index("mixing")
    assert frame.loc[RIVAL, "equal_time"] == 3.0  # the second seed lacks the other
    assert frame.loc["1x1", "equal_time"] == 3.5
    assert frame.loc["1x1", "equal_parameters"] == pytest.approx(4.2)
    assert frame.loc[RIVAL, "condition"] == 2.0  # of the first seed alone


def test_the_best_is_named_with_those_that_the_seeds_do_not_tell_apart(
    unmeasured: pd.DataFrame,
) -> None:
    density = trained(
        (RIVAL, "", [3.0, 3.1, 3.2]),
        ("1x1", "time", [3.501, 3.6, 3.699]),
        ("plu", "time", [3.1, 3.09, 3.22]),
        ("qr", "time", [2.0, 2.0]),  # too few to be the best
    )
    bits = bits_frame(density)
    assert bits is not None
    kept = bits[bits["control"] == "time"].set_index("mixing")
    assert list(kept["seeds"]) == [3, 3, 2, 3]  # in the order of the table
    assert kept.loc["plu", "bits"] == pytest.approx(3.41 / 3 + 2)
    assert kept.loc[RIVAL, "base_verdict"] == "better"
    assert kept.loc[RIVAL, "base_difference"] == pytest.approx(-0.5)
    low, high = stats.t.interval(0.95, 2, -0.5, stats.sem([-0.501, -0.5, -0.499]))
    assert kept.loc[RIVAL, ["base_low", "base_high"]].tolist() == pytest.approx([low, high])
    assert kept["best_verdict"].to_dict() == {
        "1x1": "worse",
        "plu": "undecided",
        "qr": "too few seeds",
        RIVAL: "itself",
    }
    text = page(unmeasured, bits)
    assert f"on galaxies `{RIVAL}` (3.100 bits/dim; not told apart: `plu`)." in text
    assert "fewer than 3 trainings on a data set" in text
    assert "| `qr` | 2.0000\\* |" in text
    assert f"| `{RIVAL}` | 3.1000 | -0.5000 [{low:+.4f}, {high:+.4f}] |" in text


def test_no_best_is_named_from_too_few_trainings(unmeasured: pd.DataFrame) -> None:
    bits = bits_frame(trained((RIVAL, "", [3.0, 3.1]), ("1x1", "time", [3.5, 3.6])))
    assert "on galaxies no mixing has 3 trainings." in page(unmeasured, bits)
    assert bits_frame(None) is None


def test_it_is_written_from_what_is_there(tmp_path: Path) -> None:
    written = write_choosing(tmp_path, tmp_path / "out")
    assert written.read_text(encoding="utf-8").startswith("# Which invertible convolution?")
    assert (tmp_path / "out" / "tables" / "choosing.csv").exists()
