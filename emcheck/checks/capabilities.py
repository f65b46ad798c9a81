"""What a layer may lack without being wrong, by name."""

from __future__ import annotations

from collections.abc import Mapping

#: name -> what it is. A check that needs a capability that the layer lacks is UNSUPPORTED.
CAPABILITIES = {
    "inverse": "an inverse",
    "logdet": "a log-determinant",
    "inverse_logdet": "a log-det of the inverse",
    "gradient": "gradients (Jacobians are by differences)",
    "inverse_gradient": "gradients through the inverse",
    "exact_inverse": "an inverse that is exact up to rounding (not an iteration with a tolerance)",
    "exact_logdet": "a log-det that is exact up to rounding (not an estimate)",
    "deterministic_logdet": "a log-det that is no random estimate (one that is right on average)",
    "free_parameters": "parameters that may take any value",
    "modes": "the same answers in training and evaluation mode",
    "other_sizes": "inputs of another size than the one it was built for",
    "transforms": "torch.func.jvp and torch.func.vmap",
    "torch_state": "a state_dict, memory layouts and modes of torch",
}

#: What a missing capability takes with it: without an inverse there is no log-det of it, and
#: without a log-det there is none of the inverse.
_IMPLIED = {
    "inverse": ("inverse_logdet", "inverse_gradient", "exact_inverse"),
    "gradient": ("inverse_gradient", "transforms"),
    "deterministic_logdet": ("inverse_logdet", "exact_logdet"),
    "logdet": ("inverse_logdet", "exact_logdet"),
}


def missing(declared: Mapping[str, bool], reason: str = "declared") -> dict[str, str]:
    """Return name -> why it is missing, for every capability declared as False and those implied.

    Raises:
        ValueError: a name that is no capability, or a value that is not True or False.
    """
    lacks: dict[str, str] = {}
    for name, offered in declared.items():
        if name not in CAPABILITIES:
            known = ", ".join(CAPABILITIES)
            raise ValueError(f"expected capabilities among {known}, got {name!r}")
        if not isinstance(offered, bool):
            raise ValueError(f"expected True or False for capability {name}, got {offered!r}")
        if not offered:
            for one in (name, *_IMPLIED.get(name, ())):
                lacks.setdefault(one, f"the layer does not offer {CAPABILITIES[name]} ({reason})")
    return lacks
