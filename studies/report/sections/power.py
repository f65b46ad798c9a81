"""Power in short: what the checks notice of seeded faults, and what the usual test misses."""

from __future__ import annotations

import pandas as pd

from studies.pages.markdown import csv_link, plural, table
from studies.report.faults import FLAGGED, NOT_JUDGED, family_of
from studies.report.frames import Frames

_USUAL = (
    "That is the test of most suites of flow libraries: at initial values, in float32 and on one "
    "square shape, `inverse(forward(x))` equals `x` and the two log-dets cancel, both to 1e-4. It "
    "gets the options that a fault needs and several draws"
)


def power(frames: Frames) -> str:
    """The kills, and beside them the usual test, by the family of the named check."""
    title = "## Power: is a wrong layer noticed?"
    if frames.kills is None or frames.faults is None:
        return f"{title}\n\nNot run: the input holds no seeded fault, so no check is proven."
    kills = frames.kills
    killed, twins = int(kills["killed"].sum()), int((kills["twin_flagged_by"] != "").sum())
    asked = kills[kills["usual_test"] != NOT_JUDGED]
    first = (
        f"**{killed} of {plural(len(kills), 'seeded fault')} killed, each by the check named "
        f"for it; {twins} of {plural(len(kills), 'correct twin')} flagged.** {_usual(asked)}"
    )
    links = (
        f"Fault by fault: {csv_link('faults')}; every check on every fault: "
        f"{csv_link('fault_results')}, as a matrix {csv_link('kill_matrix')}"
    )
    return "\n\n".join([title, first, _by_family(kills, asked), links])


def _usual(asked: pd.DataFrame) -> str:
    if not len(asked):
        return "The usual test of flow libraries was not run on the faults of this input."
    seen, twins = (
        int((asked[key] == FLAGGED).sum()) for key in ("usual_test", "usual_test_on_twin")
    )
    return (
        f"**The usual test sees {seen} of {len(asked)}.** {_USUAL}, and it flags "
        f"{plural(twins, 'correct twin')}."
    )


def _by_family(kills: pd.DataFrame, asked: pd.DataFrame) -> str:
    """One row per family: faults, kills, and what the usual test sees of those it judged."""
    rows = []
    for family, group in kills.groupby([family_of(name) for name in kills["killer"]]):
        judged = asked[asked.index.isin(group.index)]
        seen = f"{int((judged['usual_test'] == FLAGGED).sum())} of {len(judged)}"
        killed = int(group["killed"].sum())
        rows.append([str(family), len(group), killed, seen if len(judged) else "–"])
    head = ["family of the named check", "faults", "killed", "the usual test sees"]
    return table(head, rows)
