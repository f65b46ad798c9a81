"""The first screen: the verdict, the counts behind it, how to read the rest, provenance."""

from __future__ import annotations

from emcheck.report.frames import Frames
from emcheck.report.judgement import Judgement
from emcheck.report.markdown import code, csv_link, escape, fold, number, plural, table
from emcheck.report.schema import Record
from emcheck.report.tidy import records, where
from emcheck.report.timings import headline_view

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
    lines.append(table(["part", "result", "out of"], _scores(frames), left=3))
    return "\n".join(lines)


def _scores(frames: Frames) -> list[list[str]]:
    rows = [_check_score(frames)]
    if frames.kills is None:
        rows.append(["seeded faults", "not run", ""])
    else:
        kills = frames.kills
        twins = int((kills["twin_flagged_by"] != "").sum())
        result = f"{int(kills['killed'].sum()):,} killed, {plural(twins, 'twin')} flagged"
        rows.append(["seeded faults", result, f"{plural(len(kills), 'fault')}, a twin each"])
    if frames.canaries is None:
        rows.append(["canaries", "not run", ""])
    else:
        ok = int(frames.canaries["ok"].sum())
        rows.append(["canaries", f"{ok:,} ok", plural(len(frames.canaries), "canary")])
    if frames.timings is None:
        rows.append(["benchmarks", "not run", ""])
    else:
        good = int(frames.timings["within_bound"].sum())
        machines = plural(len(frames.machine_names()), "machine")
        out_of = f"{plural(len(frames.timings), 'time')} on {machines}"
        rows.append(["benchmarks", f"{good:,} with an error within its bound", out_of])
        rows += _prices(frames)
    if frames.images is None:
        rows.append(["real images", "not run", ""])
    else:
        good = int((frames.images["verdict"] == "PASS").sum())
        patches = plural(int(frames.images["patches"].sum()), "patch").replace("patchs", "patches")
        rows.append(
            ["real images", f"{good:,} PASS", f"{plural(len(frames.images), 'run')}, {patches}"]
        )
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
        rows.append(["inverse over forward time", result, size])
    return rows


def _check_score(frames: Frames) -> list[str]:
    if frames.checks is None:
        return ["checks", "not run", ""]
    checks = frames.checks
    tally = checks["verdict"].value_counts().to_dict()
    order = ["PASS", "FAIL", *sorted(set(map(str, tally)) - {"PASS", "FAIL"})]
    result = ", ".join(f"{tally.get(verdict, 0):,} {verdict}" for verdict in order)
    examples, ill = int(checks["examples"].sum()), int(checks["ill_conditioned"].sum())
    kinds = f"{checks['check'].nunique()} checks x {plural(checks['layer'].nunique(), 'layer')}"
    out_of = f"{plural(len(checks), 'result')} ({kinds}); {plural(examples, 'example')}"
    return ["checks", result, f"{out_of}, {ill:,} of them too ill-conditioned to judge"]


HOW_TO_READ = """## How to read this

- A **ratio** is error over bound, without unit; it passes at or below its threshold, and the
  bound comes from the rule named beside it (T1 to T9), not from a fixed tolerance.
- A **result** is one check on one layer in one dtype on one device, over many **examples**.
  ILL-CONDITIONED means that the drawn parameters have no inverse at that precision, so the
  example judges nobody; UNSUPPORTED is a capability that is missing and says so; NOTE is a house
  rule that others need not follow; NOT RUN means that there was no example.
- A **fault** is a real bug, seeded on purpose. It is killed only by the check named for it, and
  its correct **twin** must pass.
- A **time** is the median over rounds, per call, with a 95% bootstrap interval in square brackets,
  each end moved out to the next round (plain percentile intervals of a median cover less than they
  say). Round brackets: fewer than six rounds, so only their range; none: no round data. *Slow
  rounds* lie beyond Q3 + 1.5 IQR; they are counted and kept, with the slowest as a multiple of the
  median.
- Times of one machine drift by more than their intervals say; ratios within a row hold better."""


def _inputs(frames: Frames) -> list[list[str]]:
    rows = []
    for file in frames.files:
        m = file.machine
        profile = f"{m['profile']}, seed {m['seed']}"
        rows.append([code(file.name), *_common(m), profile, escape(file.date)])
    for run in frames.runs:
        profile = f"{run['profile']}, seed {run['seed']}, {number(run['seconds'], 3)} s"
        rows.append(["properties", *_common(run), profile, escape(run["date"])])
    return rows


def _common(record: Record) -> list[str]:
    gpu = record.get("gpu", "none")
    extras = [] if gpu == "none" else [f"GPU {gpu}, TF32 {record['tf32']}"]
    if record.get("cpu_capability", "unknown") != "unknown":
        extras.append(record["cpu_capability"])
    machine = "; ".join([record["cpu"], *extras])
    dirty = {"true": " with uncommitted changes", "unknown": " (clean or not: unknown)"}
    commit = code(str(record["commit"])[:12]) + dirty.get(record["dirty"], "")
    versions = f"torch {record['torch']}, numpy {record['numpy']}"
    return [escape(machine), str(record["threads"]), commit, escape(versions)]


def provenance(frames: Frames) -> str:
    """Which machine, commit, versions, threads and date stand behind every number."""
    head = ["input", "machine", "threads", "commit", "versions", "profile", "date"]
    parts = ["## Where the numbers come from", table(head, _inputs(frames), left=len(head))]
    names = frames.machine_names()
    if names:
        rows = [[letter, escape(name)] for letter, name in names.items()]
        parts.append(
            "Times stand in one column for each machine:\n\n"
            + table(["column", "machine"], rows, left=2)
        )
    if not frames.runs:
        parts.append("There is no run record of the properties, so their machine is unknown.")
    parts.append(f"All fields: {csv_link('provenance')}.")
    return "\n\n".join(parts)
