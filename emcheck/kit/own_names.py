"""Parameters by the names that their author knows, without the prefix of an adapter."""

from __future__ import annotations

import re
from dataclasses import replace

from torch import nn

from emcheck.adapters import unadapted
from emcheck.result import Explanation, Result


def adapter_prefix(layer: nn.Module) -> str:
    """Return what an adapter puts before each name of its module: ``layer.`` or nothing."""
    inner = unadapted(layer)
    name = next(name for name, module in layer.named_modules() if module is inner)
    return f"{name}." if name else ""


def result_by_own_names(result: Result, prefix: str) -> Result:
    """Return the result with the prefix removed from its detail."""
    return replace(result, detail=_without(result.detail, prefix)) if prefix else result


def explanation_by_own_names(explanation: Explanation, prefix: str) -> Explanation:
    """Return the explanation with the prefix removed from its text and evidence."""
    if not prefix:
        return explanation
    text, evidence = (_without(v, prefix) for v in (explanation.text, explanation.evidence))
    return replace(explanation, text=text, evidence=evidence)


def _without(text: str, prefix: str) -> str:
    """Return a text without the prefix before the names that begin with it, removed once each."""
    return re.sub(rf"(?<![\w.]){re.escape(prefix)}(?=\w)", "", text)
