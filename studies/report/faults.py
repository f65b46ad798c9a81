"""The seeded faults as frames: who killed what, whether a correct twin was flagged, and what
the usual test of flow libraries would have seen."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from emcheck.checks import CHECKS
from studies.pages.schema import Record
from studies.report.verdicts import SPOILS

FLAGGED, PASSED, NOT_JUDGED = "flagged", "passed", "not judged"


def _answer(verdict: str) -> str:
    if verdict in SPOILS:
        return FLAGGED
    return PASSED if verdict == "PASS" else NOT_JUDGED


def fault_frame(records: list[Record]) -> pd.DataFrame:
    """One row per fault and check, sorted, with what the check said about fault and twin."""
    frame = pd.DataFrame(records)
    frame["answer"] = frame["verdict"].map(_answer)
    frame["twin_flagged"] = frame["twin_verdict"].isin(SPOILS)
    return frame.sort_values(["fault", "check"], ignore_index=True)


def kill_table(faults: pd.DataFrame) -> pd.DataFrame:
    """One row per fault: the check named for it, its verdict, and how many others saw it.

    Only the named check kills; a fault without a result of its named check was NOT RUN.
    """
    rows: list[Record] = []
    for fault, group in faults.groupby("fault", sort=True):
        killer = str(group["killer"].iloc[0])
        named, others = group[group["check"] == killer], group[group["check"] != killer]
        row: Record = {"fault": fault, "killer": killer, "killed": False, "verdict": "NOT RUN"}
        row |= {"ratio": float("nan"), "twin_verdict": "NOT RUN"}
        if len(named):
            row["killed"] = bool((named["answer"] == FLAGGED).any())
            row["verdict"] = "FAIL" if row["killed"] else str(named["verdict"].iloc[0])
            row["ratio"] = float(named["ratio"].max(skipna=False))
            row["twin_verdict"] = str(named["twin_verdict"].iloc[0])
        row["others_flagged"] = int((others["answer"] == FLAGGED).sum())
        row["others_judged"] = int((others["answer"] != NOT_JUDGED).sum())
        row["usual_test"] = _answer(str(group["usual"].iloc[0]))
        row["usual_test_on_twin"] = _answer(str(group["usual_twin"].iloc[0]))
        row["twin_flagged_by"] = " ".join(group[group["twin_flagged"]]["check"])
        row["provenance"] = str(group["provenance"].iloc[0])
        rows.append(row)
    return pd.DataFrame(rows)


def kill_matrix(faults: pd.DataFrame) -> pd.DataFrame:
    """Faults (rows) x checks (columns): flagged, passed or not judged; empty: not tried."""
    cells = faults.groupby(["fault", "check"])["answer"].agg(
        lambda answers: FLAGGED if (answers == FLAGGED).any() else answers.iloc[0]
    )
    return cells.unstack("check").fillna("").reset_index()


def family_of(check: str) -> str:
    """The family of a check; of one that is no longer there, "other"."""
    return CHECKS[check].family if check in CHECKS else "other"


def families_of_killers(kills: pd.DataFrame, checks: Iterable[str]) -> dict[str, list[str]]:
    """Family -> those of ``checks`` that belong to it, for families that have a named check."""
    found: dict[str, list[str]] = {}
    for check in checks:
        found.setdefault(family_of(check), []).append(check)
    named = set(kills["killer"])
    return {name: own for name, own in sorted(found.items()) if named & set(own)}
