"""The cells that a profile measures, and why it leaves out the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benches.cells import Cell, Registry, Setup, all_cells
from benches.timing import Budget
from emcheck.specs import REGISTRY

#: The side at which the quick profile measures what it does not sweep.
_USUAL_SIDE = 16


@dataclass(frozen=True)
class Profile:
    """A choice of cells and the time that each may take."""

    name: str
    holds: Callable[[Setup], bool]
    budget: Budget


def _side(setup: Setup) -> int:
    """Return the side of the setup's event, as rounded up to what the layer accepts."""
    return setup.event[1]


def _in_quick(setup: Setup) -> bool:
    """Hold every layer over all sizes; other dtypes, batches, channels, options at one size."""
    usual = _USUAL_SIDE <= _side(setup) < 2 * _USUAL_SIDE
    if not setup.variant.default:
        return usual and setup.sweep == "fixed" and setup.batch > 1 and setup.dtype == "float32"
    changed = (setup.sweep != "fixed") + (setup.batch == 1) + (setup.dtype != "float32")
    return changed == 0 or (changed == 1 and usual)


def _in_full(setup: Setup) -> bool:
    """Hold every layer everywhere; its other options over the fixed sweep in float32."""
    plain = setup.sweep == "fixed" and setup.batch > 1 and setup.dtype == "float32"
    return setup.variant.default or plain


PROFILES = {
    "quick": Profile("quick", _in_quick, Budget(seconds=0.1, rounds=9, limit=1.0)),
    "full": Profile("full", _in_full, Budget(seconds=0.25, rounds=15, limit=2.5)),
}


@dataclass(frozen=True)
class Plan:
    """The cells to measure, in order, and how many are left out for each reason."""

    profile: Profile
    cells: tuple[Cell, ...]
    left_out: Mapping[str, int]


def make_plan(
    profile: Profile,
    devices: Sequence[str],
    free_memory: Mapping[str, int | None],
    registry: Registry = REGISTRY,
) -> Plan:
    """Sort every cell into measured and left out; ``free_memory`` is in bytes by device."""
    kept: list[Cell] = []
    left_out: Counter[str] = Counter()
    for cell in all_cells(devices, registry):
        reason = _reason(cell.setup, profile, free_memory.get(cell.setup.device))
        if reason is None:
            kept.append(cell)
        else:
            left_out[reason] += 1
    return Plan(profile, tuple(kept), dict(left_out))


def _reason(setup: Setup, profile: Profile, free: int | None) -> str | None:
    """Return why the cells of a setup are left out, or None."""
    if setup.device == "mps" and setup.dtype == "float64":
        return "mps has no float64"
    if not profile.holds(setup):
        return f"not in the {profile.name} profile"
    if free is not None and setup.bytes_needed > free:
        side = setup.event[1]
        return f"too large for the free memory of {setup.device} at {side}x{side}"
    return None
