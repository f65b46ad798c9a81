"""Checks as tidy frames: counts with their denominators, worst ratios, the verdict matrix."""

from __future__ import annotations

import pandas as pd

from emcheck.ok import MUST_PASS, SPOILING
from emcheck.result import SEVERITY, Verdict, excess
from studies.pages.schema import Record

VERDICTS = [v.value for v in Verdict]
_RANK = {v.value: rank for rank, v in enumerate(SEVERITY)}
SPOILS = {verdict.value for verdict in SPOILING}


def check_frame(records: list[Record]) -> pd.DataFrame:
    """One row per check, layer, dtype and device, sorted; ``excess`` is ratio over threshold."""
    frame = pd.DataFrame(records)
    frame["excess"] = [excess(r["ratio"], r["threshold"]) for r in records]
    numbered = frame["ratio"].notna() & frame["threshold"].notna()
    frame["excess"] = frame["excess"].where(numbered | frame["verdict"].isin(SPOILS))
    order = ["family", "check", "layer", "dtype", "device", "seed"]
    return frame.sort_values(order, ignore_index=True)


def worst_verdict(verdicts: pd.Series[str]) -> str:
    """The verdict of several results together: the most severe one."""
    return str(min(verdicts, key=lambda v: _RANK[str(v)]))


def counts(checks: pd.DataFrame, by: str) -> pd.DataFrame:
    """Results, verdicts and examples per value of ``by``, and a total; rows add up to it."""
    rows: list[Record] = []
    groups = [(str(key), group) for key, group in checks.groupby(by, sort=True)]
    for key, group in [*groups, ("total", checks)]:
        row: Record = {by: key, "results": len(group)}
        row |= {v: int((group["verdict"] == v).sum()) for v in VERDICTS}
        row["examples"] = int(group["examples"].sum())
        row["ill_conditioned_examples"] = int(group["ill_conditioned"].sum())
        rows.append(row)
    return pd.DataFrame(rows)


def worst_ratios(checks: pd.DataFrame) -> pd.DataFrame:
    """Per check, the result nearest to (or farthest over) its threshold, among those judged."""
    judged = checks[checks["verdict"].isin(["PASS", "FAIL", "XPASS", "NOTE", "XFAIL"])]
    # A failure without a number is worse than any number; a pass without one ranks last.
    judged = judged.assign(
        spoils=judged["verdict"].isin(SPOILS), rank=judged["excess"].fillna(-1.0)
    )
    judged = judged.sort_values(["spoils", "rank"], ascending=False, kind="stable")
    worst = judged.groupby("check", sort=True).head(1)
    columns = [
        *["family", "check", "layer", "dtype", "device", "verdict", "ratio", "threshold", "rule"],
        *["excess", "condition", "examples", "seed", "detail"],
    ]
    return worst.sort_values(["family", "check"])[columns].reset_index(drop=True)


def verdict_matrix(checks: pd.DataFrame) -> pd.DataFrame:
    """Checks (rows, by family) x layers (columns): the worst verdict; empty: does not apply.

    A cell that holds PASS and ILL-CONDITIONED is the latter, so that it is seen.
    """

    def shown(verdicts: pd.Series[str]) -> str:
        worst, ill = worst_verdict(verdicts), Verdict.ILL_CONDITIONED.value
        return ill if worst == "PASS" and (verdicts == ill).any() else worst

    cells = checks.groupby(["family", "check", "layer"], sort=True)["verdict"].agg(shown)
    return cells.unstack("layer").fillna("").reset_index()


def share_matrix(checks: pd.DataFrame) -> pd.DataFrame:
    """Checks x layers as :func:`verdict_matrix`: the worst share of the threshold that passed."""
    passed = checks.assign(excess=checks["excess"].where(checks["verdict"] == "PASS"))
    cells = passed.groupby(["family", "check", "layer"], sort=True)["excess"].max()
    return cells.unstack("layer").reset_index()


def escaped(checks: pd.DataFrame) -> pd.DataFrame:
    """Value and log-det checks of a layer that nowhere passed, failed or were unsupported."""
    family = checks["family"].str.replace(r"[^a-z]", "", regex=True)
    must = checks[family.isin(MUST_PASS)]
    answered = must["verdict"].isin(["PASS", "UNSUPPORTED", *SPOILS])
    answers = answered.groupby([must["layer"], must["check"]]).any()
    return answers[~answers].reset_index()[["layer", "check"]]
