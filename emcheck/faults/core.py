"""Seeded faults: a faulty layer, the check that must flag it, and its correct twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from emcheck._internal.words import snake_case
from emcheck.adapters import unadapted
from emcheck.adapters.conventions import Conventional, Estimated, by_signature
from emcheck.checks import Case, Subject
from emcheck.checks.capabilities import missing
from emcheck.contract import InvertibleLayer
from emcheck.layers._tools import per_sample
from emcheck.specs import LayerSpec, spec_for

L = TypeVar("L", bound=InvertibleLayer)
F = TypeVar("F", bound=type[InvertibleLayer])


class Faulty(InvertibleLayer, Generic[L]):
    """A wrapper of a correct layer; a fault overrides what it gets wrong.

    A fault in an internal step of the layer (a mask, a spectrum) is a subclass of the layer
    instead; layers are subclassed nowhere else.
    """

    layer: L

    #: The name of the argument to which the log-det is added, empty if there is none.
    carried: ClassVar[str] = ""

    #: Whether the log-det is a random estimate.
    estimated: ClassVar[bool] = False

    #: Whether the inverse stops at ``self.tolerance``.
    declares_tolerance: ClassVar[bool] = False

    def __init__(self, layer: L) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.forward(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.inverse(z)

    def log_det(self, x: Tensor) -> Tensor:
        return self.layer.log_det(x)


class OtherLogdet(Faulty[L]):
    """A wrapper with correct values and another log-det, in both directions.

    A fault overrides ``total`` or, where the log-det depends on x, ``log_det``.
    """

    def total(self, H: int, W: int) -> Tensor:
        """Return the log-det of one sample, a scalar."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x)[0], self.log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, _ = self.layer.inverse(z)
        return x, -self.log_det(x)

    def log_det(self, x: Tensor) -> Tensor:
        self.layer.log_det(x)  # validates x
        return per_sample(self.total(*x.shape[2:]), x)


@dataclass(frozen=True)
class Fault:
    """A seeded fault.

    Args:
        name: the class name in snake case.
        check: the check that must flag it.
        provenance: the kind of code in which it was seen.
        twin: the correct layer of the registry.
        build: ``build(channels, **options, generator=...)`` returns the faulty layer.
        source: the faulty class.
        summary: what is wrong, in one line.
        options: constructor keywords that are fixed; the others are drawn.
        case: fields of the case that are fixed (``event``, ``style``, ...).
        spec: the twin's, possibly with another way to make it singular.
        prepare: changes the correct layer right after it is built, in fault and twin alike.
        correct: a correct wrapper with another convention than the contract's; it wraps the
            twin, and both are called by that convention. None: the contract's.
        raises: whether the fault shows as an exception, so that an exception counts as a kill.
        causes: those that :mod:`emcheck.diagnosis` may name first, the best one first.
    """

    name: str
    check: str
    provenance: str
    twin: type[InvertibleLayer]
    build: Callable[..., nn.Module]
    source: type[nn.Module]
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    case: Mapping[str, Any] = field(default_factory=dict)
    spec: LayerSpec | None = None
    prepare: Callable[[nn.Module], None] | None = None
    correct: type[Faulty[Any]] | None = None
    raises: bool = False
    causes: tuple[str, ...] = ()

    def subject(self) -> Subject:
        """Return the faulty layer as a subject of checks, with the definition of its twin."""
        return self._as_subject(self.name, self.build)

    def twin_subject(self) -> Subject:
        """Return the correct layer as a subject, built and prepared in the same way."""
        return self._as_subject(self.twin.__name__, spec_for(self.twin).build)

    def _as_subject(self, name: str, build: Callable[..., nn.Module]) -> Subject:
        def built(case: Case) -> nn.Module:
            keywords = spec.keywords(case.event, case.options)
            layer = build(case.event[0], **keywords, generator=case.generator(0))
            if self.prepare is not None:
                self.prepare(unwrap(layer))
            if self.correct is None:
                return layer
            taken = by_signature(layer if isinstance(layer, Faulty) else self.correct(layer))
            return Estimated(taken) if self.correct.estimated else taken

        spec = self.spec or spec_for(self.twin)
        if self.correct is None:
            return Subject(name, built, spec=spec, own=True, unwrap=unwrap)
        lacks = missing({"deterministic_logdet": False}) if self.correct.estimated else {}
        if self.correct.declares_tolerance:
            lacks = missing({"exact_inverse": False})
        return Subject(
            name,
            built,
            spec=spec,
            unwrap=unwrap,
            lacks=lacks,
            carried=self.correct.carried,
            estimated=self.correct.estimated,
            tolerance=_set_tolerance if self.correct.declares_tolerance else None,
            log_prob=hasattr(self.correct, "log_prob"),
        )


def unwrap(layer: nn.Module) -> nn.Module:
    """Return the module whose parameters the spec knows."""
    while isinstance(layer, Faulty | Conventional | Estimated):
        layer = layer.layer
    return layer


def _set_tolerance(layer: nn.Module, tolerance: float) -> None:
    unadapted(layer).tolerance = tolerance  # type: ignore[assignment]


#: name -> fault, in the order of the families' modules.
FAULTS: dict[str, Fault] = {}


def fault(
    check: str,
    twin: type[InvertibleLayer],
    provenance: str,
    *,
    options: Mapping[str, Any] | None = None,
    case: Mapping[str, Any] | None = None,
    make_singular: Callable[[nn.Module], None] | None = None,
    prepare: Callable[[nn.Module], None] | None = None,
    correct: type[Faulty[Any]] | None = None,
    raises: bool = False,
    cause: str | tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Register a class as a fault that ``check`` must kill.

    Raises:
        ValueError: the name is taken.
    """

    def register(cls: F) -> F:
        name = snake_case(cls.__name__)
        if name in FAULTS:
            raise ValueError(f"expected a new name for a fault, got {name!r} twice")

        def build(channels: int, **options: Any) -> nn.Module:
            if issubclass(cls, Faulty):
                return cls(spec_for(twin).build(channels, **options))
            return cls(channels, **options)

        FAULTS[name] = Fault(
            name=name,
            check=check,
            provenance=provenance,
            twin=twin,
            build=build,
            source=cls,
            summary=(cls.__doc__ or "").strip().splitlines()[0],
            options=dict(options or {}),
            case=dict(case or {}),
            spec=replace(spec_for(twin), make_singular=make_singular) if make_singular else None,
            prepare=prepare,
            correct=correct,
            raises=raises,
            causes=(cause,) if isinstance(cause, str) else cause,
        )
        return cls

    return register
