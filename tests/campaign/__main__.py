"""``python -m tests.campaign [KIND ...]``: tried, good and bad; exit code 1 if any is bad.

The kinds are those of the inputs, and ``fault``, ``kill`` and ``run`` for what is done to
processes; all of them unless named. Inputs take half a minute, faults and kills some minutes each,
the kills of ``emcheck run`` in all its stages a quarter of an hour.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from tests.campaign import layers, stored
from tests.campaign.core import Input
from tests.campaign.faults import faults
from tests.campaign.kills import kills
from tests.campaign.runs import runs


def inputs() -> Iterator[Input]:
    """Every input of the campaign."""
    yield from layers.inputs()
    yield from stored.inputs()


def _tried(kinds: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Kind, name and trouble of each that was tried."""
    entries = [(given.kind, given.name, given.trouble) for given in inputs()]
    entries += [("fault", fault.name, fault.trouble) for fault in faults()]
    for kind, name, trouble in entries:
        if not kinds or kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                yield kind, name, trouble(Path(folder))
    for kind, several in (("kill", kills), ("run", runs)):
        if not kinds or kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                for name, trouble_of in several(Path(folder).resolve()):
                    yield kind, name, trouble_of


def main(kinds: Sequence[str]) -> int:
    """Try all inputs, or those of some kinds, one after the other."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    tried, bad = Counter[str](), Counter[str]()
    for kind, name, trouble in _tried(kinds):
        tried[kind] += 1
        if kind in ("kill", "run"):  # minutes each: say how far it is
            print(f"{'BAD' if trouble else 'good'} {kind}: {name}", flush=True)
        if trouble:
            bad[kind] += 1
            print(f"BAD {kind}: {name}\n    {trouble.strip()}", flush=True)
    for kind, count in tried.items():
        print(f"{kind:<14} {count:>4} tried {count - bad[kind]:>4} good {bad[kind]:>3} bad")
    print(f"{'all':<14} {tried.total():>4} tried {tried.total() - bad.total():>4} good "
          f"{bad.total():>3} bad")  # fmt: skip
    return int(bool(bad.total()) or not tried.total())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
