"""A compiler that fails is said once, and plain torch does the work from then on."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from typing import NoReturn

import numba
import pytest
import torch

from emcheck.layers.compiled_kinds import compiled_kinds
from emcheck.solve import choose

#: Module of compiled code -> the functions that layers call.
ENTRIES = {
    "forward_lanes": ("forward", "backward"),
    "inverse_lanes": ("packed_triangles", "inverse", "backward"),
    "lanes": ("substitute", "invert"),
    "frequency_lanes": ("solve",),
    "pixels": ("solve",),
    "reflections": ("product",),
}

KINDS = [kind.name for kind in compiled_kinds(torch.float64)]


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process: no module is loaded, and no warning has been given."""
    monkeypatch.setattr(choose, "_modules", {})
    choose._tell.cache_clear()
    yield
    choose._tell.cache_clear()


def numbers(name: str) -> list[torch.Tensor]:
    kind = next(kind for kind in compiled_kinds(torch.float64) if kind.name == name)
    found = kind.call()
    return list(found) if isinstance(found, tuple) else [found]


@numba.njit
def fails(*_: object) -> object:
    """It has a name that Numba cannot know, so that its compilation fails at the first call."""
    return unheard_of  # type: ignore[name-defined]  # noqa: F821


#: Which code to call, and the functions that fail; all of them if none is named.
BROKEN = [
    *[(name, ()) for name in KINDS],
    *[(name, ("backward",)) for name in KINDS if name.startswith("gradients")],
]


@pytest.mark.parametrize(("name", "only"), BROKEN)
@pytest.mark.usefixtures("unasked")
def test_one_warning_and_the_same_numbers(
    name: str, only: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = numbers(name)
    for module, functions in ENTRIES.items():
        loaded = importlib.import_module(f"emcheck.solve.{module}")
        for function in functions:
            if not only or function in only:
                monkeypatch.setattr(loaded, function, fails)
    with pytest.warns(RuntimeWarning) as told:
        found = numbers(name)
    (said,) = (str(warning.message) for warning in told)
    assert "use plain torch, which is slower" in said
    assert "(TypingError: Failed in nopython mode pipeline" in said
    for got, wanted in zip(found, expected, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-9, atol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = numbers(name)
    assert all(torch.equal(a, b) for a, b in zip(again, found, strict=True))


@pytest.mark.usefixtures("unasked")
def test_other_errors_are_raised() -> None:
    def refuses() -> NoReturn:
        raise RuntimeError("expected a nonzero diagonal")

    with pytest.raises(RuntimeError, match="nonzero diagonal"):
        choose.attempt("pixels", refuses, lambda: None)
    assert choose.compiled_module("pixels") is not None
