"""Parameters by the names that their author knows, without those of an adapter around them."""

from __future__ import annotations

import re
from dataclasses import replace

from torch import nn

from emcheck.adapters import unadapted
from emcheck.result import Explanation, Result


def adapter_prefix(layer: nn.Module) -> str:
    """What an adapter puts before each name of the module that it holds: ``layer.`` or nothing."""
    inner = unadapted(layer)
    name = next(name for name, module in layer.named_modules() if module is inner)
    return f"{name}." if name else ""


def result_by_own_names(result: Result, prefix: str) -> Result:
    """The same, its detail without the prefix."""
    return replace(result, detail=_without(result.detail, prefix)) if prefix else result


def explanation_by_own_names(explanation: Explanation, prefix: str) -> Explanation:
    """The same, its text and evidence without the prefix."""
    if not prefix:
        return explanation
    text, evidence = (_without(v, prefix) for v in (explanation.text, explanation.evidence))
    return replace(explanation, text=text, evidence=evidence)


def _without(text: str, prefix: str) -> str:
    """A text, its names that begin with the prefix shortened by it, once each."""
    return re.sub(rf"(?<![\w.]){re.escape(prefix)}(?=\w)", "", text)
