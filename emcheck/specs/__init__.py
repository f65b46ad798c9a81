"""How each layer is built and defined and how its parameters move: one module for each layer.

Every module of this folder is imported here; it adds its spec to :data:`SPECS`.
"""

from __future__ import annotations

import importlib
import pkgutil

from emcheck import flows, layers
from emcheck.contract import InvertibleLayer
from emcheck.specs.core import SPECS as SPECS
from emcheck.specs.core import LayerSpec as LayerSpec
from emcheck.specs.core import Trait as Trait
from emcheck.specs.core import options_of as options_of
from emcheck.specs.core import spec_for as spec_for
from emcheck.specs.core import spec_of as spec_of

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

#: Name -> class of every exported layer that has a spec, in the order of the exports.
REGISTRY: dict[str, type[InvertibleLayer]] = {
    name: cls
    for package in (layers, flows)
    for name, cls in vars(package).items()
    if isinstance(cls, type) and cls in SPECS
}
