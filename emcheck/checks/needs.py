"""What a check needs of a layer."""

from __future__ import annotations

from emcheck.checks.case import Subject
from emcheck.checks.unsupported import Unsupported as Unsupported
from emcheck.specs.core import Trait


def offers(subject: Subject, need: Trait | str) -> bool:
    """Whether the subject has what a check needs: a trait, a part of the spec, or a property."""
    spec = subject.spec
    if need == "definition":
        return subject.is_defined
    if need in ("carried", "estimated", "log_prob", "tolerance"):
        return bool(getattr(subject, need))
    if need == "start":
        return spec is None or Trait.INITIALIZES in spec.traits
    if spec is None:
        return False
    if isinstance(need, Trait):
        return need in spec.traits
    return getattr(spec, need) is not None
