"""How to read the page, and which machine, commit and versions stand behind its numbers."""

from __future__ import annotations

from studies.pages.markdown import code, csv_link, escape, table
from studies.pages.schema import Record
from studies.report.frames import Frames

HOW_TO_READ = """## How to read this

- A **ratio** is error over bound, without unit; it passes at or below its threshold, and the
  bound comes from the rule named beside it (T1 to T11), not from a fixed tolerance.
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
    return [
        [escape(row["input"]), *_common(row), escape(row["about"]), escape(row["date"][:10])]
        for row in frames.origins
    ]


def _common(record: Record) -> list[str]:
    gpu = record.get("gpu", "none")
    extras = [] if gpu == "none" else [f"GPU {gpu}, TF32 {record['tf32']}"]
    if record.get("cpu_capability", "unknown") != "unknown":
        extras.append(record["cpu_capability"])
    machine = "; ".join([record["cpu"], *extras])
    dirty = {"true": " with uncommitted changes", "unknown": " (clean or not: unknown)"}
    commits = ", ".join(code(commit[:12]) for commit in str(record["commit"]).split())
    commit = commits + dirty.get(record["dirty"], "")
    versions = f"torch {record['torch']}, numpy {record['numpy']}"
    return [escape(machine), str(record["threads"]).strip("[]"), commit, escape(versions)]


def provenance(frames: Frames) -> str:
    """Which machine, commit, versions, threads and date stand behind every number."""
    head = ["input", "machine", "threads", "commit", "versions", "what", "date"]
    parts = ["## Where the numbers come from", table(head, _inputs(frames), left=len(head))]
    names = frames.machine_names()
    if names:
        rows = [[letter, escape(name)] for letter, name in names.items()]
        parts.append(
            "Times stand in one column for each machine:\n\n"
            + table(["column", "machine"], rows, left=2)
        )
    if not any(row["input"] == "properties" for row in frames.origins):
        parts.append("There is no run record of the properties, so their machine is unknown.")
    parts.append(f"All fields: {csv_link('provenance')}.")
    return "\n\n".join(parts)
