"""Which check saw which seeded fault, and which named check killed it."""

from __future__ import annotations

import pandas as pd

from studies.pages.markdown import code, csv_link, escape, figure, fold, number, plural, table
from studies.pages.tidy import records
from studies.report.faults import FLAGGED, NOT_JUDGED, PASSED, families_of_killers
from studies.report.frames import Frames

_CAPTION = (
    "Faults whose named check belongs to the family {}. A dark square with a ring is the kill by "
    "the check named for the fault, a dark square another check that saw it too, a light square a "
    "check that passed it, a dot one that could not judge it; a blank: it does not apply. A cross "
    "in a ring would be a fault that survived its named check. The number counts the checks of "
    "other families that saw the fault. The column apart, where there is one, is what the usual "
    "test of flow libraries says: dark where it complains."
)


#: What the usual test says of a fault, in the words of the table.
_USUALLY = {FLAGGED: "sees it", PASSED: "misses it", NOT_JUDGED: "–"}


def kills(frames: Frames) -> str:
    """Which check saw which seeded fault."""
    title = "### Kill matrix"
    if frames.kills is None or frames.faults is None:
        return f"{title}\n\nNot run: the input holds no seeded fault, so no check is proven."
    faults, checks = frames.kills, frames.faults["check"].nunique()
    killed, flagged = int(faults["killed"].sum()), int((faults["twin_flagged_by"] != "").sum())
    missing = sorted(set(faults["killer"]) - set(frames.faults["check"]))
    note = f" Named checks without any result: {', '.join(map(code, missing))}." if missing else ""
    return "\n\n".join(
        [
            title,
            f"{killed} of {plural(len(faults), 'fault')} killed by the check named for it, "
            f"{flagged} of {plural(len(faults), 'correct twin')} flagged, "
            f"{plural(checks, 'check')} tried.{note}",
            *(
                figure(f"kill_matrix_{family}", _CAPTION.format(family))
                for family in families_of_killers(faults, sorted(set(frames.faults["check"])))
            ),
            fold("Fault by fault", _fault_table(faults)),
            f"{csv_link('faults')}, the matrix {csv_link('kill_matrix')}, and every pair "
            f"{csv_link('fault_results')}.{_blind(frames)}",
        ]
    )


def _fault_table(kills: pd.DataFrame) -> str:
    """One row per fault, survivors first."""
    rows = [
        [
            code(row["fault"]),
            code(row["killer"]),
            "killed" if row["killed"] else f"**survived ({row['verdict']})**",
            number(row["ratio"]),
            f"{row['others_flagged']} of {row['others_judged']}",
            _USUALLY[row["usual_test"]],
            f"**flagged by {code(row['twin_flagged_by'])}**"
            if row["twin_flagged_by"]
            else row["twin_verdict"],
            escape(row["provenance"]),
        ]
        for row in records(kills.sort_values(["killed", "fault"]))
    ]
    head = ["fault", "named check", "fault is", "ratio", "others that saw it"]
    head += ["usual test", "twin", "seen in"]
    return table(head, rows, left=len(head))


def _blind(frames: Frames) -> str:
    """Checks that ran on layers but never flagged any fault: not proven."""
    if frames.checks is None or frames.faults is None:
        return ""
    proven = set(frames.faults[frames.faults["answer"] == FLAGGED]["check"])
    unproven = sorted(set(frames.checks["check"]) - proven)
    if not unproven:
        return " Every check that ran on a layer has flagged at least one fault."
    return f" Checks that flagged no fault at all: {', '.join(map(code, unproven))}."
