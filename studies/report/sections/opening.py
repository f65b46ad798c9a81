"""The first screen: the verdict and the counts behind it."""

from __future__ import annotations

from studies.pages.markdown import code, csv_link, fold, number, plural, table
from studies.pages.tidy import records, where
from studies.report.frames import Frames
from studies.report.judgement import Judgement
from studies.report.timings import headline_view

#: So many problems stand in the first screen; the others are folded under them.
SHOWN_PROBLEMS = 8


def headline(frames: Frames, judgement: Judgement) -> str:
    """The verdict in one line, then one line per part with its denominators."""
    if judgement.word == "FAIL":
        first = f"**FAIL: {plural(len(judgement.problems), 'problem')}.**"
    elif judgement.word == "INCOMPLETE":
        missing = ", ".join(judgement.missing)
        first = f"**INCOMPLETE: nothing failed, but these parts are missing: {missing}.**"
    else:
        first = (
            "**PASS: no check failed, every fault was killed, every time has a checked result.**"
        )
    lines = [first, ""]
    lines += [f"- {problem}" for problem in judgement.problems[:SHOWN_PROBLEMS]]
    hidden = judgement.problems[SHOWN_PROBLEMS:]
    if hidden:
        lines += ["", fold(f"{len(hidden)} more", "\n".join(f"- {p}" for p in hidden))]
    if judgement.problems:
        lines.append("")
    if judgement.problems and judgement.missing:
        lines += [f"Missing besides: {', '.join(judgement.missing)}.", ""]
    lines.append(table(["part", "result", "out of", "numbers"], _scores(frames), left=4))
    return "\n".join(lines)


def _scores(frames: Frames) -> list[list[str]]:
    rows = [_check_score(frames)]
    if frames.kills is None:
        rows.append(["seeded faults", "not run", "", ""])
    else:
        kills = frames.kills
        twins = int((kills["twin_flagged_by"] != "").sum())
        result = f"{int(kills['killed'].sum()):,} killed, {plural(twins, 'twin')} flagged"
        out_of = f"{plural(len(kills), 'fault')}, a twin each"
        rows.append(["seeded faults", result, out_of, csv_link("faults")])
    if frames.canaries is None:
        rows.append(["self-test", "not run", "", ""])
    else:
        ok = int(frames.canaries["ok"].sum())
        out_of = plural(len(frames.canaries), "self-test")
        rows.append(["self-test", f"{ok:,} ok", out_of, csv_link("self_tests")])
    if frames.timings is None:
        rows.append(["benchmarks", "not run", "", ""])
    else:
        good = int(frames.timings["within_bound"].sum())
        machines = plural(len(frames.machine_names()), "machine")
        out_of = f"{plural(len(frames.timings), 'time')} on {machines}"
        result = f"{good:,} with an error within its bound"
        rows.append(["benchmarks", result, out_of, csv_link("times")])
        rows += _prices(frames)
    if frames.images is None:
        rows.append(["real images", "not run", "", ""])
    else:
        good = int((frames.images["verdict"] == "PASS").sum())
        sources = frames.images.drop_duplicates("source")
        patches = f"{int(sources['patches'].sum()):,} patches of {plural(len(sources), 'image')}"
        out_of = f"{plural(len(frames.images), 'run')}, {patches}"
        rows.append(["real images", f"{good:,} PASS", out_of, csv_link("images")])
    return rows


def _prices(frames: Frames) -> list[list[str]]:
    """Per machine, the cheapest and the dearest inverse in units of its forward pass."""
    if frames.timings is None or frames.cells is None:
        return []
    rows = []
    for machine in frames.machine_names():
        view = headline_view(where(frames.timings, {"machine": machine}))
        cells = where(frames.cells, view | {"machine": machine}).dropna(subset="ratio")
        if not len(cells):
            continue
        ordered = records(cells.sort_values("ratio", kind="stable"))
        ends = [ordered[0], ordered[-1]]
        result = " to ".join(f"{number(row['ratio'])} ({code(row['layer'])})" for row in ends)
        size = f"{view['height']}x{view['width']}, batch {view['batch']}, machine {machine}"
        rows.append(["inverse over forward time", result, size, csv_link("times_by_cell")])
    return rows


def _check_score(frames: Frames) -> list[str]:
    if frames.checks is None:
        return ["checks", "not run", "", ""]
    checks = frames.checks
    tally = checks["verdict"].value_counts().to_dict()
    order = ["PASS", "FAIL", *sorted(set(map(str, tally)) - {"PASS", "FAIL"})]
    result = ", ".join(f"{tally.get(verdict, 0):,} {verdict}" for verdict in order)
    examples, ill = int(checks["examples"].sum()), int(checks["ill_conditioned"].sum())
    kinds = f"{checks['check'].nunique()} checks x {plural(checks['layer'].nunique(), 'layer')}"
    out_of = f"{plural(len(checks), 'result')} ({kinds}); {plural(examples, 'example')}"
    out_of += f", {ill:,} of them too ill-conditioned to judge"
    return ["checks", result, out_of, csv_link("checks")]
