"""A claim and its evidence as JSON: what the report reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from emcheck._internal.files import write_all
from emcheck._internal.machine import describe_machine
from emcheck._internal.seal import with_seal
from studies.claims.core import Claim, Evidence


def to_json(claim: Claim, evidence: Evidence) -> dict[str, Any]:
    """Everything that is shown of a claim; tables column by column, because they are long."""
    return {
        "letter": claim.letter,
        "name": claim.name,
        "machine": describe_machine(),
        "doubt": claim.doubt,
        "statement": claim.statement,
        "holds": evidence.holds,
        "missing": evidence.missing,
        "verdict": evidence.conclusion,
        "negations": list(claim.negations),
        "facts": [
            {
                "what": fact.what,
                "value": _plain(float(fact.value)),
                "relation": fact.relation,
                "bound": _plain(float(fact.bound)),
                "holds": fact.holds,
            }
            for fact in evidence.facts
        ],
        "tables": {
            name: {column: [_plain(row[column]) for row in rows] for column in rows[0]}
            for name, rows in evidence.tables.items()
            if rows
        },
    }


def _plain(value: Any) -> Any:
    """A number as JSON knows it; one that is not finite as text."""
    value = value.item() if isinstance(value, np.generic) else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def keep(claim: Claim, evidence: Evidence, folder: Path) -> Path:
    """Write ``folder/<letter>-<name>.json``; one commit and evidence give the same bytes."""
    name = f"{claim.letter}-{claim.name}.json"
    text = json.dumps(with_seal(to_json(claim, evidence)), indent=1, allow_nan=False)
    write_all(folder, {name: (text + "\n").encode()})
    return folder / name
