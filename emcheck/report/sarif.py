"""SARIF 2.1.0: failures as code scanning shows them, at the definition of the layer."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from emcheck.known import KNOWN
from emcheck.report.core import Report, numbers_of
from emcheck.result import Result, Verdict


def sarif_of(reports: Sequence[Report], targets: Sequence[str], folder: Path) -> bytes:
    """Return one run with a result for each failure.

    Args:
        reports: in the order of ``targets``.
        targets: ``module:name``; the module is searched below ``folder``, and not imported.
        folder: what the paths are relative to, the root of the user's project.
    """
    rules: dict[str, dict[str, Any]] = {}
    results = []
    for report, target in zip(reports, targets, strict=True):
        place = _place(target, folder)
        for failure in report.failures:
            known = KNOWN[failure.check]
            rules[failure.check] = {
                "id": failure.check,
                "shortDescription": {"text": known.summary.replace("``", "`")},
                "properties": {"clause": str(known.clause)},
            }
            results.append(_result(report, failure, place))
    driver = {
        "name": "emcheck",
        "version": metadata.version("emcheck"),
        "rules": list(rules.values()),
    }
    run = {"tool": {"driver": driver}, "results": results}
    content = {"version": "2.1.0", "runs": [run]}
    return (json.dumps(content, indent=1) + "\n").encode()


def _result(report: Report, failure: Result, place: dict[str, Any] | None) -> dict[str, Any]:
    told = [f"{report.layer} on {report.shape}: {failure.check} [{failure.dtype}]"]
    told += [line for line in (*numbers_of(failure), failure.detail) if line]
    best = report.explanations[:1]
    told += [f"most likely: {one.text}" for one in best if failure.check in one.checks]
    told += [failure.reproduce or f"case: {failure.case}"]
    level = "warning" if failure.verdict is Verdict.NOT_RUN else "error"
    result: dict[str, Any] = {
        "ruleId": failure.check, "level": level, "message": {"text": "\n".join(told)},
        # Code scanning recognises a failure by this, whatever its numbers are next time.
        "partialFingerprints": {"emcheck/v1": f"{report.layer} {failure.check} {failure.dtype}"},
    }  # fmt: skip
    if place is not None:
        result["locations"] = [{"physicalLocation": place}]
    return result


def _place(target: str, folder: Path) -> dict[str, Any] | None:
    """Return the file and line where a target is defined, None if it is not below the folder."""
    module, _, name = target.partition(":")
    where: Sequence[str] | None = [str(folder)]
    origin = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, where) if where else None
        if spec is None:
            return None
        origin, where = spec.origin, spec.submodule_search_locations
    if origin is None or not Path(origin).is_relative_to(folder.resolve()):
        return None
    path = Path(origin)
    return {
        "artifactLocation": {"uri": path.relative_to(folder.resolve()).as_posix()},
        "region": {"startLine": _line(path, name.partition(".")[0])},
    }


def _line(path: Path, name: str) -> int:
    """Return the line of a module that defines a name, or its first line."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return 1
    for node in body:
        names = [getattr(node, "name", "")]
        if isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if name in names:
            return node.lineno
    return 1
