"""Conventions of flow code: which calls a module offers, by signatures and names.

Each module here reads one convention; :mod:`emcheck.kit.recognise` tries what they find.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from emcheck.adapters.conventions import methods as methods

from emcheck.adapters.conventions import flag as flag  # isort: skip
from emcheck.adapters.conventions import mode as mode  # isort: skip
from emcheck.adapters.conventions.context import Context as Context
from emcheck.adapters.conventions.context import ContextLike as ContextLike
from emcheck.adapters.conventions.core import Convention as Convention
from emcheck.adapters.conventions.core import Route as Route
from emcheck.adapters.conventions.core import convention, has_forward, route
from emcheck.adapters.conventions.core import is_density as is_density
from emcheck.adapters.conventions.core import is_logdet as is_logdet
from emcheck.adapters.conventions.estimated import Estimated as Estimated
from emcheck.adapters.conventions.layer import Conventional as Conventional
from emcheck.adapters.conventions.layer import Taken as Taken
from emcheck.adapters.conventions.layer import stored_logdet as stored_logdet
from emcheck.adapters.conventions.layer import unusual as unusual


def by_signature(module: nn.Module) -> Conventional:
    """Return a module under the first convention that it offers, without a trial call."""
    return Conventional(module, Taken(next(conventions_of(module))))


def carried_argument(module: nn.Module) -> str:
    """Return the argument to which a module adds its log-det, empty if it has none."""
    return next((one.carried for one in conventions_of(module) if one.carried), "")


def conventions_of(module: nn.Module) -> Iterator[Convention]:
    """Yield the conventions that a module offers, the likeliest first and forward alone last."""
    known = False
    for name, reader in convention.readers.items():
        for forward, inverse in reader(module):
            known = True
            yield Convention(name, forward, inverse)
    if not known:
        for forward, inverse in methods.by_pattern(module):
            yield Convention("methods by pattern", forward, inverse)
    alone = route(module, "forward") if has_forward(module) else route(module, "encode")
    if alone is not None:
        yield Convention("forward alone", alone, None)
