"""Causes of missing or wrong gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from emcheck._internal.copying import copy_layer
from emcheck.checks.calling import call
from emcheck.diagnosis.consequences import GRADIENTS
from emcheck.diagnosis.evidence.gradients import CHECK_OF, Slope
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, SEEN, SYMPTOM, Fit, hypothesis

_WRONG = (*CHECK_OF.values(), "no_dead_parameter")

#: The name of each output in a sentence.
_NAMES = {
    "latent": "the latent",
    "logdet": "the log-det",
    "inverse": "the inverse",
    "inverse logdet": "the log-det of the inverse",
}


def _told(slope: Slope) -> str:
    return f"for {slope.tensor} got {slope.got:.6g}, by differences {slope.true:.6g}"


@hypothesis(
    "latent_detached",
    "logdet_detached",
    "inverse_detached",
    "inverse_logdet_detached",
    rank=SEEN + 2,
    when=(*CHECK_OF.values(),),
    explains=GRADIENTS,
)
def output_detached(evidence: Evidence) -> Iterator[Fit]:
    """An output is detached: no gradient reaches the parameters, or anything it depends on."""
    for output, name in _NAMES.items():
        own = [s for s in evidence.slopes if s.output == output]
        moving = [s for s in own if abs(s.true) > s.bound]
        parameters = [s for s in moving if s.tensor != "the input"]
        if not moving or not all(s.missing for s in parameters or moving):
            continue
        elsewhere = {s.tensor for s in evidence.slopes if not s.missing and s.output != output}
        reached = all(s.tensor in elsewhere for s in parameters)
        if parameters and not reached:
            continue  # the parameter is cut off everywhere: not this output's fault
        cut = "nothing" if all(s.missing for s in moving) else "no parameter"
        yield Fit(
            f"{output.replace(' ', '_')}_detached",
            f"{name.capitalize()} is detached: it has the right value and a gradient for {cut}.",
            f"{len([s for s in moving if s.missing])} of {len(moving)} gradients are missing; "
            f"{_told((parameters or moving)[0])}",
        )


@hypothesis("input_detached", rank=SEEN + 3, when=(*CHECK_OF.values(),), explains=GRADIENTS)
def input_detached(evidence: Evidence) -> Iterator[Fit]:
    """An output depends on its input but has gradients for the parameters only."""
    for output, name in _NAMES.items():
        own = [s for s in evidence.slopes if s.output == output]
        for slope in own:
            alive = any(not s.missing for s in own if s is not slope)
            if slope.tensor == "the input" and slope.missing and slope.off and alive:
                yield Fit(
                    "input_detached",
                    f"{name.capitalize()} is computed from a detached input: no gradient flows "
                    "back to it.",
                    _told(slope),
                )


@hypothesis(
    "parameter_detached", "unused_parameter", rank=SEEN + 1, when=_WRONG, explains=GRADIENTS
)
def parameter_dead(evidence: Evidence) -> Iterator[Fit]:
    """A parameter receives no gradient from any output: it is detached, or it is never used."""
    names = {s.tensor for s in evidence.slopes} - {"the input"}
    for name in sorted(names):
        own = [s for s in evidence.slopes if s.tensor == name]
        if not all(s.missing for s in own):
            continue
        moving = [s for s in own if abs(s.true) > s.bound]
        if moving:
            yield Fit(
                "parameter_detached",
                f"The parameter `{name}` is used through `.data` or detached: it matters and "
                "receives no gradient.",
                f"{_NAMES[moving[0].output]}: {_told(moving[0])}; no gradient in "
                f"{len(own)} of {len(own)} outputs",
            )
        elif _has_no_effect(evidence, name):
            yield Fit(
                "unused_parameter",
                f"The parameter `{name}` is never used.",
                f"no gradient in {len(own)} of {len(own)} outputs, and changing it changes no "
                "bit of them",
            )


def _has_no_effect(evidence: Evidence, name: str) -> bool:
    """Whether no output changes with the parameter, at any size: one pixel may not show it."""
    for event in evidence.events:
        trial = evidence.trial(replace(evidence.base, event=event))
        x, z = trial.x, call(copy_layer(trial.layer), trial.sample(3))[0]
        before = evidence.outputs(copy_layer(trial.layer), x, z)
        changed = copy_layer(trial.layer)
        parameter = changed.get_parameter(name)
        shape, generator = parameter.shape, trial.case.generator(63)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        parameter.data.add_(noise.to(parameter))
        after = evidence.outputs(changed, x, z)
        if not all(torch.equal(before[key], after[key]) for key in before):
            return False
    return True


@hypothesis("inverse_gradient_one_step", rank=MECHANISM - 1, when=("gradient_of_inverse",))
def one_step(evidence: Evidence) -> Iterator[Fit]:
    """The inverse's gradient is that of one step: ``D^-1``, with ``D`` the diagonal of ``J``."""
    count = 0
    for case in evidence.spread[:3]:
        trial = evidence.trial(replace(case, batch=1))
        x = trial.x
        F = trial.jacobian(x[0])
        z, _ = call(trial.layer, x)
        G = trial.by_autograd(z[0])
        maps = evidence.maps[0]
        if not maps.close(G, np.diag(1 / np.diagonal(F))) or maps.close(F, np.diag(np.diagonal(F))):
            return
        count += 1
    if count:
        yield Fit(
            "inverse_gradient_one_step",
            "The gradient of the inverse is that of a single iteration step: the implicit "
            "gradient cut off after its first term.",
            f"d inverse / dz = D^-1, D the diagonal of J_forward, in {count} of {count} cases; "
            "J_forward is not diagonal",
        )


@hypothesis("gradient_incomplete", rank=SYMPTOM, when=(*CHECK_OF.values(),), explains=GRADIENTS)
def incomplete(evidence: Evidence) -> Iterator[Fit]:
    """A gradient is wrong or missing: part of the graph is detached, or a backward is wrong."""
    off = [s for s in evidence.slopes if s.off and np.isfinite(s.got)]
    partial = [s for s in off if not s.missing]
    if not off:
        return
    names = sorted({f"`{s.tensor}`" if s.tensor != "the input" else s.tensor for s in off})
    outputs = sorted({_NAMES[s.output] for s in off})
    worst = (partial or off)[0]
    yield Fit(
        "gradient_incomplete",
        f"Gradients of {' and '.join(outputs)} for {' and '.join(names)} are there but wrong: "
        "part of the graph is detached, or a backward of its own is wrong."
        if partial
        else f"Gradients of {' and '.join(outputs)} for {' and '.join(names)} are missing.",
        f"{len(off)} of {len(evidence.slopes)} gradients are wrong; {_told(worst)}",
        frozenset(CHECK_OF[s.output] for s in off) | {"no_dead_parameter", "gradient_of_inverse"},
    )
