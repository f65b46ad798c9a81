"""Verdicts on a failing layer at other sizes, channel counts and options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from emcheck.checks.case import Case
from emcheck.checks.core import CHECKS, run_check
from emcheck.diagnosis.evidence.scene import Scene
from emcheck.result import Verdict

#: H and W in multiples of the layer's step: each parity, single rows, squares.
SPACES = (
    (1, 1), (1, 4), (4, 1), (2, 2), (3, 3), (2, 3), (3, 2), (4, 4), (4, 5), (5, 4), (5, 5),
    (6, 3), (3, 6), (5, 3), (3, 5), (5, 6),
)  # fmt: skip

#: A layer is right if it passes those of these checks that apply.
_JUDGES = (
    "forward_matches_definition",
    "logdet_matches_definition",
    "logdet_matches_jacobian",
    "inverse_undoes_forward",
    "inverse_logdet_matches_jacobian",
)


@dataclass(frozen=True)
class SizeVerdict:
    """A case and the check that failed there; ``wrong`` is empty if the layer is right."""

    case: Case
    wrong: tuple[str, ...]


def verdict_at(scene: Scene, case: Case) -> SizeVerdict | None:
    """Judge one case; None if the layer does not accept it, or if nothing can be judged."""
    if not scene.accepts(case):
        return None
    wrong, judged = [], 0
    for name in _JUDGES:
        if not CHECKS[name].applies(scene.subject):
            continue
        verdict = run_check(CHECKS[name], scene.subject, case).verdict
        judged += verdict in (Verdict.PASS, Verdict.FAIL)
        if verdict is Verdict.FAIL:
            wrong.append(name)
            break
    return SizeVerdict(case, tuple(wrong)) if judged else None


def size_verdicts(scene: Scene) -> tuple[SizeVerdict, ...]:
    """Return verdicts over a grid of sizes, for events with spatial axes."""
    return tuple(
        verdict for case in _sized(scene) if (verdict := verdict_at(scene, case)) is not None
    )


def _sized(scene: Scene) -> Iterator[Case]:
    base, step = scene.base, scene.subject.multiple(scene.base)
    C, *space = base.event
    if not space:
        return
    C = min(C, max(2, scene.subject.fewest_channels(base)))
    for H, W in SPACES:
        sizes = {1: [W], 2: [H, W]}.get(len(space), [H] * (len(space) - 1) + [W])
        yield replace(base, event=(C, *(size * step for size in sizes)), batch=2)
