"""The one verdict on the whole report: what spoils it, and what it cannot speak about."""

from __future__ import annotations

from dataclasses import dataclass

from studies.pages.markdown import code, escape, number, plural
from studies.pages.tidy import records
from studies.report.frames import Frames
from studies.report.verdicts import SPOILS, escaped


@dataclass(frozen=True)
class Judgement:
    """FAIL with its problems, INCOMPLETE with what is missing, or PASS."""

    problems: list[str]
    missing: list[str]

    @property
    def word(self) -> str:
        """The verdict as one word."""
        if self.problems:
            return "FAIL"
        return "INCOMPLETE" if self.missing else "PASS"


def judge(frames: Frames) -> Judgement:
    """PASS needs every part to be there and none of them to be spoilt."""
    problems = [
        *_checks(frames),
        *_faults(frames),
        *_canaries(frames),
        *_benchmarks(frames),
        *_images(frames),
    ]
    parts = {
        "the checks": frames.checks,
        "the seeded faults": frames.faults,
        "the self-test": frames.canaries,
        "the benchmarks": frames.timings,
        "the real images": frames.images,
    }
    return Judgement(problems, [part for part, frame in parts.items() if frame is None])


def _checks(frames: Frames) -> list[str]:
    if frames.checks is None:
        return []
    problems = []
    for row in records(frames.checks[frames.checks["verdict"].isin(SPOILS)]):
        where = f"{code(row['check'])} on {code(row['layer'])} ({row['dtype']}, {row['device']})"
        ratio = f"ratio {number(row['ratio'])} against {number(row['threshold'])}"
        detail = f": {escape(row['detail'])}" if row["detail"] else ""
        problems.append(f"{row['verdict']} of {where}, {ratio}, seed {row['seed']}{detail}")
    problems += [
        f"{code(row['check'])} never passed on {code(row['layer'])}: nothing was judged"
        for row in records(escaped(frames.checks))
    ]
    return problems


def _faults(frames: Frames) -> list[str]:
    if frames.kills is None:
        return []
    problems = []
    for row in records(frames.kills):
        if not row["killed"]:
            problems.append(
                f"fault {code(row['fault'])} survived {code(row['killer'])} "
                f"(verdict {row['verdict']})"
            )
        elif row["twin_verdict"] != "PASS" and not row["twin_flagged_by"]:
            problems.append(
                f"the correct twin of {code(row['fault'])} did not pass {code(row['killer'])} "
                f"(verdict {row['twin_verdict']})"
            )
        if row["twin_flagged_by"]:
            problems.append(
                f"the correct twin of {code(row['fault'])} was flagged by "
                f"{code(row['twin_flagged_by'])}"
            )
    return problems


def _canaries(frames: Frames) -> list[str]:
    if frames.canaries is None:
        return []
    dead = frames.canaries[~frames.canaries["ok"] & (frames.canaries["repaired"] != "true")]
    return [
        f"self-test {code(row['name'])} failed and was not repaired: {escape(row['detail'])}"
        for row in records(dead)
    ]


def _benchmarks(frames: Frames) -> list[str]:
    if frames.timings is None:
        return []
    over = frames.timings[~frames.timings["within_bound"]]
    named = [
        f"{code(row['layer'])} {row['operation']} at {row['height']}x{row['width']} "
        f"on {row['machine']}"
        for row in records(over.head(3))
    ]
    if not named:
        return []
    more = ", among them " if len(over) > len(named) else ": "
    count = f"{plural(len(over), 'time')} of {len(frames.timings):,}"
    return [f"{count} belong to results whose error is over its bound{more}{', '.join(named)}"]


def _images(frames: Frames) -> list[str]:
    if frames.images is None:
        return []
    return [
        f"{row['verdict']} of {code(row['layer'])} ({row['dtype']}) on the image "
        f"{code(row['source'])}"
        for row in records(frames.images[frames.images["verdict"].isin(SPOILS)])
    ]
