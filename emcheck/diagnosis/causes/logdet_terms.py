"""Log-dets with a missing or miscounted term, always 0, or wrong in one direction only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.consequences import LOGDET, UNDONE
from emcheck.diagnosis.evidence.logdets import LogdetExample
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, SYMPTOM, Fit, hypothesis

#: Likely multiples of a term in ``got - expected``, and what each means.
_MULTIPLES = {
    -1.0: "is missing",
    1.0: "is counted once too often",
    -2.0: "is subtracted instead of added",
    2.0: "is counted twice too often",
    -0.5: "is counted too little, by one half of it",
    0.5: "is counted too much, by one half of it",
}


@hypothesis(
    "submodule_logdet_missing",
    "submodule_logdet_doubled",
    "submodule_logdet_sign",
    "parameter_logdet_missing",
    "parameter_logdet_doubled",
    "parameter_logdet_sign",
    rank=MECHANISM + 2,
    when=WRONG,
    explains=LOGDET,
)
def wrong_term(evidence: Evidence) -> Iterator[Fit]:
    """The log-det of one submodule or parameter is missing, miscounted or has the wrong sign."""
    told, slug, numbers = [], "", ""
    for examples, which in wrong_directions(evidence):
        found = _term(examples)
        if found is None:
            return
        name, multiple = found
        kind = "submodule" if "log-det of" in name else "parameter"
        share = multiple * (1.0 if kind == "submodule" else _sign(examples, name, which))
        ending = {-1.0: "missing", -0.5: "missing", -2.0: "sign"}.get(share, "doubled")
        slug = slug or f"{kind}_logdet_{ending}"
        told.append(f"in {which}, {name} {_MULTIPLES[share]}")
        numbers = numbers or _term_numbers(examples, name, multiple)
    if told:
        yield Fit(slug, f"{'; '.join(told)}.".capitalize().replace("h w", "H W"), numbers)


def _sign(examples: Sequence[LogdetExample], name: str, which: str) -> float:
    """The sign with which the term of a parameter enters the right log-det."""
    term = np.array([e.terms[name][0] for e in examples])
    right = np.array([e.expected[0] for e in examples])
    slope = float(((term - term.mean()) * (right - right.mean())).sum())
    return float(np.sign(slope)) or (1.0 if which == "forward" else -1.0)


def wrong_directions(evidence: Evidence) -> Iterator[tuple[Sequence[LogdetExample], str]]:
    for examples, which in (
        (evidence.logdets, "forward"),
        (evidence.inverse_logdets, "the inverse"),
    ):
        if any(e.off.any() for e in examples):
            yield examples, which


def _term(examples: Sequence[LogdetExample]) -> tuple[str, float] | None:
    """Return the first term and multiple that fit: submodules before parameters, 1 before 2."""
    names = [name for name in examples[0].terms if all(name in e.terms for e in examples)]
    for multiple in _MULTIPLES:
        for name in names:
            if _fits_term(examples, name, multiple):
                return name, multiple
    return None


def _fits_term(examples: Sequence[LogdetExample], name: str, multiple: float) -> bool:
    values = [e.terms[name] for e in examples]
    pairs = list(zip(examples, values, strict=True))
    if not all(e.fits(e.expected + multiple * t) for e, t in pairs):
        return False
    telling = [float(t[0]) for e, t in pairs if e.off.any()]
    return len(telling) >= 2 and np.ptp(telling) > max(float(e.bound.max()) for e in examples)


def _term_numbers(examples: Sequence[LogdetExample], name: str, multiple: float) -> str:
    example = max(examples, key=lambda e: float(np.abs(e.terms[name]).max()))
    count = sum(len(e.got) for e in examples)
    return (
        f"got - expected = {multiple:g} * {name} in {count} of {count} samples; "
        f"got {example.got[0]:.9g}, expected {example.expected[0]:.9g}, "
        f"the term is {example.terms[name][0]:.9g}"
    )


@hypothesis("logdet_zero", rank=MECHANISM - 2, when=WRONG, explains=LOGDET)
def always_zero(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is always 0, whatever the parameters."""
    for examples, which in wrong_directions(evidence):
        if all((e.got == 0).all() for e in examples) and sum(e.off.any() for e in examples) >= 2:
            expected = ", ".join(f"{e.expected[0]:.6g}" for e in examples[:3])
            yield Fit(
                "logdet_zero",
                f"The log-det of {which} is always 0.",
                f"got 0 in {len(examples)} of {len(examples)} cases, expected {expected}, ...",
            )


@hypothesis("wrong_in_one_direction", rank=SYMPTOM, when=WRONG, explains=LOGDET)
def one_direction(evidence: Evidence) -> Iterator[Fit]:
    """Only the log-det of one direction is wrong."""
    wrong = {
        which: [e for e in examples if e.off.any()]
        for examples, which in (
            (evidence.logdets, "forward"),
            (evidence.inverse_logdets, "inverse"),
        )
        if examples
    }
    if not evidence.trial().has("inverse") and wrong["forward"] and evidence.failing <= LOGDET:
        example = wrong["forward"][0]
        yield Fit(
            "wrong_in_one_direction",
            "Only the log-det of forward is wrong; its values and their gradients are right.",
            f"wrong in {len(wrong['forward'])} batches; got {example.got[0]:.9g}, expected "
            f"{example.expected[0]:.9g}",
        )
        return
    if len(wrong) == 2 and bool(wrong["forward"]) != bool(wrong["inverse"]):
        bad = "forward" if wrong["forward"] else "inverse"
        if bad == "inverse" and evidence.failing & set(UNDONE):
            return  # its values are wrong, so its log-det need not be the fault
        good = "inverse" if bad == "forward" else "forward"
        example = wrong[bad][0]
        yield Fit(
            "wrong_in_one_direction",
            f"Only {bad} returns a wrong log-det; that of {good} is right.",
            f"wrong in {len(wrong[bad])} batches; got {example.got[0]:.9g}, expected "
            f"{example.expected[0]:.9g}",
        )
