"""What a run of the properties says at its end."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from emcheck.checks import CHECKS, Subject
from emcheck.specs import REGISTRY


def pairs() -> list[tuple[str, str]]:
    """Every registered layer with every check that applies to it."""
    subjects = {name: Subject.of_class(name, cls) for name, cls in REGISTRY.items()}
    return [
        (layer, check.name)
        for layer, subject in subjects.items()
        for check in CHECKS.values()
        if check.applies(subject)
    ]


@dataclass
class Summary:
    """The records of a run, and the lines that are printed from them."""

    records: list[dict[str, Any]] = field(default_factory=list)

    def add(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    @property
    def ordered(self) -> list[dict[str, Any]]:
        """The records in an order that does not depend on which process was faster."""
        keys = ("kind", "layer", "fault", "source", "check", "dtype")
        return sorted(self.records, key=lambda r: [str(r.get(key, "")) for key in keys])

    @property
    def checks(self) -> set[tuple[str, str]]:
        """Layer and check of everything that ran."""
        return {(r["layer"], r["check"]) for r in self.records if r["kind"] == "check"}

    @property
    def is_whole(self) -> bool:
        """Whether every pair ran, and the faults and the images too."""
        kinds = {record["kind"] for record in self.records}
        return self.checks == set(pairs()) and {"fault", "image"} <= kinds

    @property
    def examples(self) -> int:
        return sum(r["examples"] for r in self.records if r["kind"] == "check")

    def lines(self) -> list[str]:
        found = [record for record in self.records if record["kind"] == "check"]
        ill = sum(record["ill_conditioned"] for record in found)
        layers = {record["layer"] for record in found}
        names = {record["check"] for record in found}
        failed = sorted({f"{r['check']}[{r['layer']}]" for r in found if r["verdict"] == "FAIL"})
        ran = f"{len(self.checks)} of {len(pairs())} checks ran"
        lines = [
            f"{ran}: {len(names)} kinds on {len(layers)} layers",
            f"{self.examples} examples, {ill} of them too ill-conditioned to judge",
            *[f"FAIL {name}" for name in failed],
            *self._kills(),
            "worst error / bound per check (limit 1 after scaling by the threshold):",
        ]
        return lines + self._worst(found)

    def _kills(self) -> list[str]:
        named = [r for r in self.records if r["kind"] == "fault" and r["check"] == r["killer"]]
        if not named:
            return []
        killed = sum(record["verdict"] == "FAIL" for record in named)
        return [f"{killed} of {len(named)} seeded faults killed by the check named for them"]

    @staticmethod
    def _worst(found: list[dict[str, Any]]) -> list[str]:
        worst: dict[str, tuple[float, str]] = defaultdict(lambda: (-1.0, ""))
        for record in found:
            ratio, threshold = float(record["ratio"]), float(record["threshold"])
            if threshold > 0 and math.isfinite(ratio):
                where = f"{record['layer']} {record['dtype']} {record['rule']}"
                worst[record["check"]] = max(worst[record["check"]], (ratio / threshold, where))
        rows = sorted(worst.items(), key=lambda item: -item[1][0])
        return [f"  {ratio:8.2g}  {check:<32} {where}" for check, (ratio, where) in rows]
