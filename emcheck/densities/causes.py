"""The most likely fault of a density, from kernels of growing width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from emcheck.bounds import DEVIATIONS
from emcheck.densities.flow import Flow
from emcheck.densities.kernels import WIDTHS, ratios
from emcheck.kit.attempts import attempt
from emcheck.ok import SPOILING
from emcheck.result import Explanation, Result

ABOUT = ("log_prob_integrates_to_one", "samples_follow_log_prob")
PARTS = "log_prob_is_base_plus_logdet"


def explained(flows: Sequence[Flow], results: Sequence[Result], seed: int) -> Iterator[Explanation]:
    """Yield a cause from the parts of ``log_prob``, or from means of kernels of growing width."""
    for result in results:
        if result.check == PARTS and result.verdict in SPOILING and result.detail:
            told = f"log_prob {result.got:.6g}, base plus log-det {result.expected:.6g}"
            yield Explanation("log_prob_of_parts", f"{result.detail}.", told, (PARTS,))
            return
    failed = tuple(r.check for r in results if r.verdict in SPOILING and r.check in ABOUT)
    if not failed:
        return
    flow = flows[0]
    found = attempt(lambda: ratios(flow, seed), 60.0)[0] or [[]]
    every = [one for of_centre in found for one in of_centre]
    if len(every) < 2:
        return
    told = ", ".join(f"{math.exp(log):.4g}" for log, _ in found[0] or every)
    evidence = f"samples near the mean over what log_prob says, in growing circles: {told}"
    constant, limit = _common(every)
    logs = [log for log, _ in found[0]]
    if limit > 0 and abs(constant) > limit and len(every) >= 8:
        named = _constants(flow.size)
        name = next((n for n, v in named.items() if abs(constant - v) <= limit), "")
        text = f"log_prob is too large by {constant:.4g} everywhere"
        if constant < 0:
            text = f"log_prob is too small by {-constant:.4g} everywhere"
        yield Explanation(
            "log_prob_constant", f"{text}{f': {name}' if name else ''}.", evidence, failed
        )
    elif len(logs) == len(WIDTHS) and all(a > b for a, b in pairwise(logs)) and logs[0] > 0:
        yield Explanation(
            "samples_too_narrow",
            "Samples lie closer together than log_prob says: another temperature, or tails that "
            "are cut off.",
            evidence,
            failed,
        )
    elif len(logs) == len(WIDTHS) and all(a < b for a, b in pairwise(logs)) and logs[0] < 0:
        yield Explanation(
            "samples_too_wide",
            "Samples lie further apart than log_prob says: another temperature, or a base that "
            "is not the one of log_prob.",
            evidence,
            failed,
        )
    else:
        yield Explanation(
            "log_prob_of_another",
            "log_prob is not the density of the samples, and the difference is no constant: a "
            "log-det of the wrong sign or at the wrong point, two different bases, or a way back "
            "that is not the inverse.",
            evidence,
            failed,
        )


def _common(every: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the constant on which all agree and its uncertainty; (0, 0) if they do not agree."""
    weights = [1 / error**2 for _, error in every]
    mean = sum(w * log for w, (log, _) in zip(weights, every, strict=True)) / sum(weights)
    if any(abs(log - mean) > DEVIATIONS * error for log, error in every):
        return 0.0, 0.0
    return -mean, DEVIATIONS * max(min(error for _, error in every), 1e-6)


def _constants(n: int) -> dict[str, float]:
    half = 0.5 * n * math.log(2 * math.pi)
    return {
        "n/2 log(2 pi), the constant of the normal density is missing": half,
        "n/2 log(2 pi), the constant of the normal density is counted twice": -half,
        "n log 256, a dequantisation that is missing or counted twice": n * math.log(256),
        "n log 256: a dequantisation that is counted twice or missing": -n * math.log(256),
    }
