"""A bijection written in JAX as functions of its arrays, compiled once per shape and dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emcheck.adapters.jax_values import as_array, as_pair, beginning, in_dtype, said_by_code
from emcheck.guard import foreign, one_line

#: ``(tree, x)`` to ``(z, logdet)``; the log-det is None if there is none.
Function = Callable[[Any, Any], tuple[Any, Any]]

#: What JAX raises if it cannot trace a function: ``if x > 0``, NumPy.
_NOT_TRACEABLE = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)

#: Compiled code runs only a few times: this halves the time, and no result depends on it.
_OPTIONS: dict[str, Any] = {"xla_backend_optimization_level": 0}

#: Fewest rows in a compiled batch: smaller ones are filled up, so that few sizes are compiled.
_ROWS = 8


@dataclass(frozen=True)
class Calls:
    """Both directions of a library.

    Args:
        forward: ``(tree, x)`` to ``(z, logdet)``.
        inverse: ``(tree, z)`` to ``(x, logdet)``.
        rows: whether they take one sample ``(*event)``, not a batch ``(B, *event)``.
    """

    forward: Function
    inverse: Function
    rows: bool = False

    def of(self, direction: str) -> Function:
        return self.forward if direction == "forward" else self.inverse


@dataclass(eq=False)
class Program:
    """The calls of one pytree, whose numbers are passed in; copies of a layer share it.

    Args:
        calls: both directions.
        structure: the structure of the tree.
        fixed: leaves that are no arrays, by their place; None where ``handed`` says that one is.
        trained: places, among the arrays, of those that have gradients.
        eager: direction -> why it cannot be compiled; it is then called step by step.
        undifferentiated: direction -> why JAX has no gradient of it.
    """

    calls: Calls
    structure: Any
    fixed: Sequence[Any]
    handed: Sequence[bool]
    trained: Sequence[int]
    eager: dict[str, str] = field(default_factory=dict)
    undifferentiated: dict[str, str] = field(default_factory=dict)
    _looked: set[str] = field(default_factory=set)
    _compiled: dict[tuple[str, str], Any] = field(default_factory=dict)

    def value(
        self, direction: str, wide: bool, arrays: Sequence[Any], x: Any
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        """Return ``(z, logdet)`` at ``x (B, *event)``; the log-det is None if the call has none."""
        size = len(x)
        with in_dtype(wide):
            if direction not in self.eager:
                filled = self._filled(x)
                try:
                    z, logdet = self._run("value", direction, list(arrays), filled)
                except _NOT_TRACEABLE as error:
                    self.eager[direction] = self.undifferentiated[direction] = beginning(error)
                else:
                    self._look_for_gradient(direction, arrays, filled, (z, logdet))
                    rows = (size, len(filled))
                    return as_array(z, rows), None if logdet is None else as_array(logdet, rows)
            z, logdet = self._batch(direction)(list(arrays), x)
        return as_array(z), None if logdet is None else as_array(logdet)

    def pull(
        self, direction: str, wide: bool, arrays: Sequence[Any], x: Any, above: Sequence[Any]
    ) -> list[np.ndarray[Any, Any]]:
        """Return the gradients of ``sum(above * outputs)`` for ``x`` and every trained array.

        Raises:
            RuntimeError: JAX cannot differentiate this, in one line.
        """
        if direction in self.undifferentiated:
            raise RuntimeError(f"JAX has no gradient: {self.undifferentiated[direction]}")
        filled = self._filled(x)
        given = [
            self._filled(one, len(filled)) if one.shape[:1] == (len(x),) else one for one in above
        ]
        with in_dtype(wide):
            try:
                found = self._run("pull", direction, list(arrays), filled, given)
            except foreign() as error:
                raise RuntimeError(f"JAX has no gradient: {one_line(error)}") from error
        return [as_array(found[0], (len(x), len(filled))), *map(as_array, found[1:])]

    def _look_for_gradient(
        self, direction: str, arrays: Sequence[Any], x: Any, outputs: Sequence[Any]
    ) -> None:
        """Trace the gradient once, without numbers, so that its absence is known beforehand."""
        if direction in self._looked:
            return
        self._looked.add(direction)
        above = [one for one in outputs if one is not None]
        try:
            jax.eval_shape(self._pull(direction), list(arrays), x, above)
        except foreign() as error:
            self.undifferentiated[direction] = beginning(error)

    def jacobian(
        self, direction: str, wide: bool, arrays: Sequence[Any], x: Any
    ) -> np.ndarray[Any, Any]:
        """Return ``dz/dx (*event_out, *event)`` at one sample ``x (*event)``, by ``jax.jacobian``.

        Raises:
            RuntimeError: JAX cannot differentiate this, in one line.
        """
        if direction in self.undifferentiated:
            raise RuntimeError(f"JAX has no gradient: {self.undifferentiated[direction]}")
        with in_dtype(wide):
            try:
                return as_array(self._run("jacobian", direction, list(arrays), x))
            except foreign() as error:
                raise RuntimeError(f"JAX has no Jacobian: {one_line(error)}") from error

    def _run(self, kind: str, direction: str, *arguments: Any) -> Any:
        key = (kind, direction)
        if key not in self._compiled:
            make = {"value": self._batch, "pull": self._pull, "jacobian": self._jacobian}[kind]
            function: Any = make(direction)
            self._compiled[key] = jax.jit(function, compiler_options=dict(_OPTIONS))
        try:
            return jax.block_until_ready(self._compiled[key](*arguments))
        except jax.errors.JaxRuntimeError as error:
            raise RuntimeError(said_by_code(error)) from error

    def _filled(self, x: Any, most: int = 0) -> Any:
        """Repeat the first row of ``x`` up to 8, 32, 128, ... rows, so that few sizes are compiled.

        Coupled rows stay coupled, differently for every batch. With ``most``, ``x`` is a gradient
        and the added rows are zeros. An empty batch of a call on batches stays empty.
        """
        if not np.ndim(x) or not (len(x) or self.calls.rows):
            return x
        like = np.zeros((1, *x.shape[1:]), x.dtype) if most or not len(x) else x[:1]
        if not most:
            most = _ROWS
            while most < len(x):
                most *= 4
        return np.concatenate([x, np.repeat(like, most - len(x), 0)]) if most > len(x) else x

    def _tree(self, arrays: Sequence[Any]) -> Any:
        given = iter(arrays)
        leaves = [
            next(given) if handed else leaf
            for leaf, handed in zip(self.fixed, self.handed, strict=True)
        ]
        return jax.tree_util.tree_unflatten(self.structure, leaves)

    def _one(self, direction: str) -> Callable[[Sequence[Any], Any], tuple[Any, Any]]:
        """Return the library's call with its answer validated."""
        call = self.calls.of(direction)

        def run(arrays: Sequence[Any], x: Any) -> tuple[Any, Any]:
            return as_pair(call(self._tree(arrays), x), direction)

        return run

    def _batch(self, direction: str) -> Callable[[Sequence[Any], Any], tuple[Any, Any]]:
        """Return the call on ``(B, *event)``; sample by sample if JAX cannot trace it."""
        one = self._one(direction)
        if not self.calls.rows:
            return lambda arrays, x: one(arrays, jnp.asarray(x))
        if direction not in self.eager:
            return jax.vmap(one, in_axes=(None, 0))

        def each(arrays: Sequence[Any], x: Any) -> tuple[Any, Any]:
            found = [one(arrays, jnp.asarray(row)) for row in x]
            values = jnp.stack([value for value, _ in found])
            logdets = [logdet for _, logdet in found]
            return values, None if logdets[0] is None else jnp.stack(logdets)

        return each

    def _pull(self, direction: str) -> Callable[..., list[Any]]:
        run = self._batch(direction)

        def pull(arrays: Sequence[Any], x: Any, above: Sequence[Any]) -> list[Any]:
            def moved(x: Any, trained: Sequence[Any]) -> list[Any]:
                full = list(arrays)
                for place, array in zip(self.trained, trained, strict=True):
                    full[place] = array
                return [one for one in run(full, x) if one is not None]

            start = [jnp.asarray(arrays[place]) for place in self.trained]
            outputs, back = jax.vjp(moved, jnp.asarray(x), start)
            given = [jnp.asarray(g, out.dtype) for g, out in zip(above, outputs, strict=True)]
            of_x, of_trained = back(given)
            return [of_x, *of_trained]

        return pull

    def _jacobian(self, direction: str) -> Callable[[Sequence[Any], Any], Any]:
        one = self._one(direction)

        def of_value(x: Any, arrays: Sequence[Any]) -> Any:
            return one(arrays, x)[0] if self.calls.rows else one(arrays, x[None])[0][0]

        return lambda arrays, x: jax.jacrev(of_value)(jnp.asarray(x), arrays)
