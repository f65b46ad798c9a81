"""Inputs to ``check_layer``: what is no layer, what raises, what changes the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import emcheck
from emcheck.checks import CHECKS
from emcheck.kit import Checker
from tests.campaign.core import Input

#: One check of each family: enough to see how a layer is taken.
_FEW = ("shapes_and_dtypes", "gradient_of_latent", "logdet_matches_jacobian",
        "inverse_undoes_forward")  # fmt: skip


class Scale(nn.Module):
    """A right layer, which does something besides in one place."""

    def __init__(self, place: str = "", besides: Callable[[], object] = int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(3))
        self.place, self.besides = place, besides
        self._at("constructor")

    def _at(self, place: str) -> None:
        if self.place == place:
            self.besides()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._at("forward")
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self._at("inverse")
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))


def verdict(layer: object, shape: Any = (3,), **options: Any) -> str:
    """``ok`` or ``NOT OK: `` with the checks that failed."""
    checker = Checker(layer, shape, **options)
    checks = [CHECKS[name] for name in _FEW]
    try:
        report = checker.report([r for check in checks for r in checker.run(check)])
    finally:
        checker.close()
    failed = sorted({r.check for r in report.failures})
    return "ok" if report.ok else f"NOT OK: {' '.join(failed)}"


def _given(options: dict[str, Any], shape: Any = (3,)) -> Callable[[Path], object]:
    return lambda folder: verdict(Scale, shape, **options)


_SHAPES: tuple[Any, ...] = (
    (), 0, -1, 3, "3", "4,8,6", None, (0,), (-3,), (3, 0), (2.0,), (2.5, 3), ("3",), (None,),
    (True,), (1, 2, 3, 4, 5), [], [[3]], {3}, {}, (10**30,), (2**20, 2**20), object, len,
    (float("nan"),), (float("inf"),), ((3,),), b"3", range(0), (3j,),
)  # fmt: skip

_NUMBERS: dict[str, tuple[Any, ...]] = {
    "seed": ("0", 1.5, None, True, [1], float("nan")),
    "examples": (0, -1, 1.5, "4", None, True, float("inf")),
    "time_limit": (0, -1, float("nan"), float("inf"), "10", None, -0.5, [1]),
    "report_limit": (0, -1, float("nan"), float("inf"), "10", None),
}

_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("dtypes", (), "expected dtypes among"),
    ("dtypes", (torch.float16,), "expected dtypes among"),
    ("dtypes", (torch.int64,), "expected dtypes among"),
    ("capabilities", {"inverze": False}, "expected capabilities among"),
    ("capabilities", {"": False}, "expected capabilities among"),
    ("expected_failures", {"no_such_check": "why"}, "no_such_check"),
    ("sample", lambda batch, generator: torch.zeros(batch, 4), "expected sample to return|NOT OK"),
    ("sample", lambda batch, generator: None, "expected sample to return|NOT OK"),
    ("reference", lambda: 0, "expected reference"),
    ("reference", lambda a, b, c: 0, "expected reference"),
)


class _NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _Own(BaseException):
    pass


_ERRORS: tuple[BaseException, ...] = (
    ValueError("one\ntwo"), RuntimeError(""), KeyError("k"), SystemExit(0), SystemExit("text"),
    KeyboardInterrupt(), GeneratorExit(), StopIteration(), MemoryError(), RecursionError("deep"),
    NotImplementedError(), AssertionError(), _NoText(), _Own("own"), OSError(28, "full"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
)  # fmt: skip


def _raising(error: BaseException) -> Callable[[], object]:
    def run() -> None:
        raise error

    return run


def _settings() -> tuple[object, ...]:
    return (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        os.getcwd(),
        torch.empty(0).device,
    )


def _switching(place: str, change: Callable[[], object]) -> Callable[[Path], object]:
    def run(folder: Path) -> str:
        before = _settings()
        told = verdict(lambda: Scale(place, change))
        return f"{told}; {'kept' if before == _settings() else 'CHANGED'}"

    return run


_CHANGES: dict[str, Callable[[], object]] = {
    "gradients": lambda: torch.set_grad_enabled(False),
    "inference": lambda: torch.inference_mode().__enter__(),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "threads": lambda: torch.set_num_threads(3),
    "directory": lambda: os.chdir("/"),
    "seed": lambda: torch.manual_seed(0),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
}


class _Raises:
    """Raises wherever anybody looks."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"no {name}")


class _Lookup(Scale):
    def __getattr__(self, name: str) -> Any:
        if name == "log_det":
            raise RuntimeError("nobody looks here")
        return super().__getattr__(name)


class _Text(Scale):
    def __repr__(self) -> str:
        raise RuntimeError("no text")


class _NotCopied(Scale):
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise RuntimeError("not\ncopied")


def _not_layers() -> tuple[tuple[str, object, str], ...]:
    linear = nn.Linear(3, 3)
    return (
        ("a number", 3, "expected a module|expected a layer"),
        ("a text", "Scale", "expected a module|expected a layer"),
        ("None", None, "expected a module|expected a layer"),
        ("a list", [Scale()], "expected a module|expected a layer"),
        ("a tensor", torch.zeros(3), "expected a module|expected a layer"),
        ("a parameter", nn.Parameter(torch.zeros(3)), "expected a module|expected a layer"),
        ("a dictionary", {"layer": Scale()}, "expected a module|expected a layer"),
        ("a linear layer", linear, "expected a module|expected a layer"),
        ("a linear layer's class", nn.Linear, "call it first"),
        ("an empty module", nn.Module(), "expected a module|expected a layer"),
        ("a sequence of layers", nn.Sequential(Scale(), Scale()), "expected a module|a layer"),
        ("a scripted module", torch.jit.script(linear), "expected|cannot"),
        ("a factory of None", lambda: None, "expected a module|expected a layer"),
        ("a factory of a class", lambda: Scale, "expected"),
        ("a factory with an argument", lambda x: Scale(), "expected a layer or a function"),
        ("a generator", (Scale() for _ in range(3)), "expected"),
        ("an object that raises", _Raises(), "expected|cannot"),
        ("a property that raises", _Lookup(), "ok|NOT OK"),
        ("a text that raises", _Text(), "^ok"),
        ("no copy", _NotCopied(), "expected a layer that can be copied"),
        ("tensors without numbers", Scale().to("meta"), "on the meta device"),
        ("half precision", Scale().half(), "^ok|NOT OK|expected"),
        ("integers for parameters", nn.Embedding(3, 3), "expected a module|expected a layer"),
        ("frozen", Scale().requires_grad_(False), "^ok"),
    )


def inputs() -> Iterator[Input]:
    """All of them."""
    for shape in _SHAPES:
        told = "expected shape|expected an event"
        yield Input("shape", repr(shape)[:40], _given({}, shape), told)
    for option, values in _NUMBERS.items():
        for value in values:
            name = f"{option}={value!r}"
            yield Input("number", name, _given({option: value}), f"expected {option}")
    for number, (option, value, told) in enumerate(_OPTIONS):
        yield Input("option", f"{option}, value {number}", _given({option: value}), told)
    for name, layer, told in _not_layers():
        yield Input("layer", name, lambda folder, layer=layer: verdict(layer), told)
    for error in _ERRORS:
        for place in ("constructor", "forward", "inverse"):
            kind = f"{type(error).__name__}{error.args!r}"[:30]
            refused = "expected|cannot|raised" if place != "inverse" else "NOT OK|UNSUPPORTED|ok"
            make = _making(place, error)
            yield Input("raises", f"{kind} in {place}", lambda f, m=make: verdict(m), refused)
    for name, change in _CHANGES.items():
        for place in ("constructor", "forward", "inverse"):
            told = r"; kept$"
            yield Input("process", f"{name} in {place}", _switching(place, change), told)
    for text in _CASES:
        yield Input("case", repr(text)[:40], _replayed(text), "expected a case like")
    for text in _TARGETS:
        yield Input("target", repr(text)[:40], _loaded(text), "expected|cannot import")


def _making(place: str, error: BaseException) -> Callable[[], nn.Module]:
    return lambda: Scale(place, _raising(error))


_CASES = (
    "", " ", "nonsense", "(2, 3)", "(2, 3) float32", "(2, 3) float16 trained seed=0", "seed=0",
    "(2, 3) float32 trained seed=", "(2, 3) float32 trained seed=x", "(2 3) float32 trained seed=0",
    "(2, 3) float32 other seed=0", "2, 3 float32 trained seed=0", "(2, 3) float32 trained\nseed=0",
    "(-2, 3) float32 trained seed=0", "(2, 3) float32 trained seed=0; import os",
    "(2, 3) tpu float32 trained seed=0", "\x00", "(2, 3) float32 trained seed=0 " * 3,
)  # fmt: skip


def _replayed(text: str) -> Callable[[Path], object]:
    return lambda folder: emcheck.reproduce(Scale, "inverse_undoes_forward", text).verdict


_TARGETS = (
    "", ":", "a:", ":b", "a", "no.such.module:x", "os:no_such_name", "os:path.no_such",
    "..:x", "os.path:", "os path:x", "os:path:x", "1:2", "\x00:x", "ünï:x", "torch:nn.NoSuch",
    "properties:nothing", "emcheck.no_such:x", "json:loads.x", "os/path:x",
)  # fmt: skip


def _loaded(text: str) -> Callable[[Path], object]:
    from emcheck.kit.loading import load_target

    return lambda folder: load_target(text)
