"""A pytree of JAX as a layer of the contract: its arrays are parameters and buffers of torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor, nn

from emcheck.adapters.core import Adapted, Logdet
from emcheck.adapters.jax_program import Calls, Program
from emcheck.bounds import XLA_UNITS

#: What no JAX function offers: functional transforms, state files, layouts and modes of torch.
NOT_IN_JAX = frozenset({"transforms", "torch_state"})


class JaxLayer(Adapted):
    """A bijection in JAX; values, gradients and Jacobians are JAX's own.

    A call computes in the dtype of ``x``: float64 by ``jax.enable_x64``, for that call alone.
    Every shape and dtype is compiled once, for all copies together.

    Args:
        tree: a pytree, whose arrays of numbers become parameters, or buffers if they are whole
            numbers or frozen. Anything else in it stays as it is.
        name: the name for reports.
        calls: both directions of the library.
        lacks: as for :class:`Adapted`.
        frozen: which nodes of the tree hold arrays that are not trained.
    """

    units = XLA_UNITS
    immutable = True

    def __init__(
        self,
        tree: Any,
        name: str,
        calls: Calls,
        lacks: frozenset[str] = frozenset(),
        frozen: Callable[[Any], bool] = lambda node: False,
    ) -> None:
        super().__init__(name, lacks | NOT_IN_JAX)
        self.held = nn.Module()
        self._names: list[str] = []
        fixed: list[Any] = []
        handed: list[bool] = []
        trained: list[int] = []
        for path, leaf, still in _leaves(tree, frozen):
            array = _numbers_of(leaf)
            handed.append(array is not None)
            fixed.append(None if array is not None else leaf)
            if array is None:
                continue
            if not still and np.issubdtype(array.dtype, np.floating):
                trained.append(len(self._names))
            self._hold(path, array, not still)
        structure = jax.tree_util.tree_structure(tree, is_leaf=_opaque(tree))
        self.program = Program(calls, structure, fixed, handed, trained)

    def _hold(self, path: str, array: np.ndarray[Any, Any], trained: bool) -> None:
        name = re.sub(r"\W+", "_", path).strip("_") or "value"
        while hasattr(self.held, name):
            name += "_"
        tensor = torch.from_numpy(array)
        if trained and tensor.is_floating_point():
            self.held.register_parameter(name, nn.Parameter(tensor))
        else:
            self.held.register_buffer(name, tensor)
        self._names.append(name)

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        z, logdet = self._call("forward", x)
        if logdet is None:
            raise ValueError("forward: expected (z, logdet), got z alone")
        return z, logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        if "inverse" in self.lacks:
            return super().inverse(z)
        return self._call("inverse", z)

    def jacobian(self, x: Tensor, inverse: bool) -> np.ndarray[Any, Any] | None:
        """``dz/dx`` of one sample ``x (*event)`` by ``jax.jacobian``; None if it has none."""
        try:
            J = self.program.jacobian(
                "inverse" if inverse else "forward",
                x.dtype == torch.float64,
                [_handed(tensor) for tensor in self._tensors()],
                _handed(x),
            )
        except RuntimeError:
            return None
        return np.asarray(J.reshape(-1, x.numel()), dtype=np.float64)

    @property
    def by_differences(self) -> bool:
        return "forward" in self.program.undifferentiated

    @property
    def shown(self) -> frozenset[str]:
        lost = {"forward": "gradient", "inverse": "inverse_gradient"}
        return frozenset(lost[way] for way in self.program.undifferentiated)

    @property
    def notes(self) -> tuple[str, ...]:
        eager, lost = self.program.eager, self.program.undifferentiated
        told = [f"{way} is called step by step, as JAX cannot compile it" for way in eager]
        told += [f"{way} has no gradient: {why}" for way, why in lost.items()]
        return (*told, *(["Jacobians by differences"] if self.by_differences else []))

    def _tensors(self) -> list[Tensor]:
        return [getattr(self.held, name) for name in self._names]

    def _call(self, direction: str, x: Tensor) -> tuple[Tensor, Tensor | None]:
        found = _Call.apply(self.program, direction, x, *self._tensors())
        return cast(tuple[Tensor, "Tensor | None"], found)

    def __deepcopy__(self, memo: dict[int, Any]) -> Adapted:
        memo[id(self.program)] = self.program
        return self._copied(memo)


class _Call(torch.autograd.Function):
    """One call of a program; its gradients are those of JAX."""

    @staticmethod
    def forward(
        ctx: Any, program: Program, direction: str, x: Tensor, *arrays: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        ctx.program, ctx.direction = program, direction
        ctx.save_for_backward(x, *arrays)
        wide = _is_wide(x, arrays)
        z, logdet = program.value(direction, wide, [*map(_handed, arrays)], _handed(x))
        ctx.pair = logdet is not None
        outputs = [torch.from_numpy(one).to(x.device) for one in (z, logdet) if one is not None]
        ctx.mark_non_differentiable(*[one for one in outputs if not one.is_floating_point()])
        return outputs[0], outputs[1] if ctx.pair else None

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        x, *arrays = ctx.saved_tensors
        given = [_handed(cast(Tensor, one)) for one in above[: 2 if ctx.pair else 1]]
        wide, numbers = _is_wide(x, arrays), [*map(_handed, arrays)]
        found = ctx.program.pull(ctx.direction, wide, numbers, _handed(x), given)
        of_x, *of_trained = [torch.from_numpy(one) for one in found]
        gradients: list[Tensor | None] = [None] * len(arrays)
        for place, gradient in zip(ctx.program.trained, of_trained, strict=True):
            gradients[place] = gradient.to(arrays[place])
        return None, None, of_x.to(x), *gradients


def everything(node: Any) -> bool:
    """The ``frozen`` of a tree in which nothing is trained."""
    return True


def summed(logdet: Any, dims: int) -> Any:
    """Sum a log-det ``(B, ...)`` with ``dims`` dimensions outside an event to ``(B,)``."""
    logdet = jnp.asarray(logdet)
    return logdet.sum(tuple(range(1, dims))) if 1 < logdet.ndim == dims else logdet


def _is_wide(x: Tensor, arrays: Any) -> bool:
    """Whether a call computes in float64: the data decide, the arrays if the data are integers."""
    if x.is_floating_point():
        return x.dtype == torch.float64
    return any(array.dtype == torch.float64 for array in arrays)


def _handed(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return the numbers of a tensor for JAX, uncopied if they are dense and on the CPU."""
    return tensor.detach().cpu().contiguous().resolve_neg().numpy()


def _leaves(tree: Any, frozen: Callable[[Any], bool]) -> list[tuple[str, Any, bool]]:
    """Return path, value and whether it is frozen for every leaf in the order of JAX."""
    found, opaque = [], _opaque(tree)
    if opaque(tree):
        return [("", tree, True)]
    for path, node in jax.tree_util.tree_flatten_with_path(tree, is_leaf=frozen)[0]:
        still = frozen(node)
        inner = jax.tree_util.tree_flatten_with_path(node)[0] if still else [((), node)]
        for rest, leaf in inner:
            found.append((jax.tree_util.keystr((*path, *rest)), leaf, still))
    return found


def _opaque(tree: Any) -> Callable[[Any], bool]:
    """Return a test that finds the tree itself if its class does not say what it holds."""
    try:
        jax.tree_util.tree_leaves(tree)
    except NotImplementedError:
        return lambda node: node is tree
    return lambda node: False


def _numbers_of(leaf: Any) -> np.ndarray[Any, Any] | None:
    """Return a leaf that torch can hold as an array of its own memory, None for any other."""
    if not isinstance(leaf, jax.Array) or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return None
    if jnp.issubdtype(leaf.dtype, np.complexfloating):
        return None
    array = np.array(leaf)
    if jnp.issubdtype(leaf.dtype, np.floating) and array.dtype.itemsize < 4:
        return array.astype(np.float32)
    known = (np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8, np.bool_)
    return array if array.dtype.type in known else None
