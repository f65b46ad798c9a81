"""How near each check came to its threshold."""

from __future__ import annotations

import pandas as pd

from studies.pages.markdown import (
    code,
    csv_link,
    error_ratio,
    escape,
    figure,
    fold,
    number,
    plural,
    table,
)
from studies.pages.tidy import records
from studies.report.frames import Frames
from studies.report.verdicts import SPOILS, worst_ratios

#: So many of the worst ratios stand open; the others are folded.
SHOWN_RATIOS = 8

_CAPTION = (
    "The largest ratio of each check as a share of its threshold, on a logarithmic axis. "
    "Everything left of the solid line passes; a check far to the left has room, or a bound "
    "that is too generous to notice much. Open circles at the left edge had no error at all; "
    "crosses failed. On the right the layer, the dtype and the rule behind the worst ratio."
)


def ratios(frames: Frames) -> str:
    """How near each check came to its threshold, worst first."""
    title = "### Worst ratios"
    if frames.checks is None:
        return f"{title}\n\nNot run: the input holds no check results."
    worst = worst_ratios(frames.checks)
    numbered = worst[worst["excess"].notna()]
    ranked = numbered.assign(first=numbered["verdict"].isin(SPOILS)).sort_values(
        ["first", "excess"], ascending=False, kind="stable"
    )
    rows = [
        [
            code(row["check"]),
            code(row["layer"]),
            row["dtype"],
            row["verdict"],
            _ratio(row),
            number(row["condition"]),
            row["seed"],
        ]
        for row in records(ranked)
    ]
    head = ["check", "worst layer", "dtype", "verdict", "ratio and rule", "condition", "seed"]
    parts = [title, table(head, rows[:SHOWN_RATIOS], left=4) if rows else "No check has a ratio."]
    if rows:
        parts += [
            figure("worst_ratios", _CAPTION),
            fold(f"All {plural(len(rows), 'check')} with a ratio", table(head, rows, left=4)),
        ]
    return "\n\n".join([*parts, _others(frames.checks, worst), csv_link("worst_ratios")])


def _others(checks: pd.DataFrame, worst: pd.DataFrame) -> str:
    """The checks that stand in neither table, so that the count adds up."""
    plain = sorted(worst[worst["excess"].isna()]["check"])
    silent = sorted(set(checks["check"]) - set(worst["check"]))
    total = f"{plural(checks['check'].nunique(), 'check')} in all"
    text = f"{total}: {len(worst) - len(plain)} with a ratio, {len(plain)} that answer yes or no"
    text += f" ({', '.join(map(code, plain))})" if plain else ""
    text += f", {len(silent)} that had nothing to judge"
    return text + (f" ({', '.join(map(code, silent))})." if silent else ".")


def _ratio(row: dict[str, object]) -> str:
    ratio, threshold = float(str(row["ratio"])), float(str(row["threshold"]))
    return error_ratio(ratio, threshold, escape(row["rule"]))
