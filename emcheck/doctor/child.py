"""Run one self-test in this process: ``python -m emcheck.doctor.child NAME`` prints a JSON line."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from emcheck.doctor.case import Case
from emcheck.doctor.self_tests import REGISTRY
from emcheck.doctor.threads import ThreadState, current, reproduce


def judge(cases: Iterator[Case]) -> dict[str, Any]:
    """Return the worst case as a record; stop at a failure, after which a known fault may hang."""
    worst = Case("no case", float("inf"), 0.0)
    count = 0
    for case in cases:
        count += 1
        if count == 1 or case.badness >= worst.badness:
            worst = case
        if not case.ok:
            break
    return {"cases": count, "worst": worst.label, "ratio": worst.ratio, "limit": worst.threshold}


def load(name: str) -> Callable[[], Iterator[Case]]:
    """Return the function of self-test ``name``; its module is imported only now."""
    module, function = REGISTRY[name].function.split(":")
    loaded = getattr(importlib.import_module(f"emcheck.doctor.canaries.{module}"), function)
    return loaded


def main() -> None:
    """Import torch first, as every user of the suite does, then run the self-test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=REGISTRY)
    parser.add_argument("--threads", type=int, help="torch's thread count in the caller")
    parser.add_argument("--dynamic", type=int, choices=(0, 1), help="MKL's flag in the caller")
    parser.add_argument("--setup", default="", help="Python code to run first")
    arguments = parser.parse_args()
    import torch

    if arguments.threads is not None:
        dynamic = None if arguments.dynamic is None else bool(arguments.dynamic)
        reproduce(ThreadState(arguments.threads, dynamic))
    exec(compile(arguments.setup, "<setup>", "exec"), {"__name__": "__setup__", "torch": torch})
    record = judge(load(arguments.name)())
    state = current()
    record["threads"] = state.count if state else 0
    print("\n" + json.dumps({"canary": arguments.name, **record}), flush=True)


if __name__ == "__main__":
    main()
