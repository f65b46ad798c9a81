"""The self-test: whether this installation can be trusted."""

from __future__ import annotations

from studies.pages.markdown import code, csv_link, escape, fold, number, plural, table
from studies.pages.tidy import records
from studies.report.frames import Frames


def self_tests(frames: Frames) -> str:
    """Whether this installation's own linear algebra can be trusted."""
    title = "## Self-test of the installation"
    if frames.canaries is None:
        return f"{title}\n\nNot run: the input holds no self-test, so the installation is untested."
    frame = frames.canaries
    ok = int(frame["ok"].sum())
    state = "all ok" if ok == len(frame) else f"**{len(frame) - ok} failed**"
    intro = (
        f"{plural(len(frame), 'self-test')}, {state}: small computations with a known "
        "answer that test this installation's linear algebra, FFT and convolution. "
        f"{csv_link('self_tests')}"
    )
    rows = [
        [
            code(row["name"]),
            "ok" if row["ok"] else "**failed**",
            f"{number(row['ratio'])} of {row['threshold']:g}",
            number(row["seconds"]),
            escape(row["detail"]),
            "" if row["ok"] else f"{escape(row['repair'])} (repaired: {row['repaired']})",
        ]
        for row in records(frame.sort_values(["ok"], kind="stable"))
    ]
    head = ["self-test", "state", "ratio", "seconds", "detail", "repair"]
    failed = rows[: len(frame) - ok]
    shown = f"\n\n{table(head, failed, left=6)}" if failed else ""
    return f"{title}\n\n{intro}{shown}\n\n{fold('All self-tests', table(head, rows, left=6))}"
