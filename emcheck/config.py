"""``[tool.emcheck]`` of a ``pyproject.toml``: the targets of a project, without torch.

.. code-block:: toml

    [[tool.emcheck.targets]]
    target = "mine:Mix"
    shape = [4, 8, 6]
    context = [3]
    lacks = ["inverse_logdet"]

    [tool.emcheck.targets.expected_failures]
    empty_batch = "the data loader drops the last batch"
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emcheck.isolated.wire import Job

FILE = "pyproject.toml"

#: Keys of a target: the type that is expected, and the argument of a job.
_KEYS: Mapping[str, tuple[type, str]] = {
    "target": (str, "target"),
    "shape": (list, "shape"),
    "context": (list, "context"),
    "lacks": (list, "lacks"),
    "expected_failures": (dict, "expected"),
    "dtypes": (list, "dtypes"),
    "only": (list, "only"),
    "seed": (int, "seed"),
    "examples": (int, "examples"),
    "time_limit": (float, "time_limit"),
    "report_limit": (float, "report_limit"),
    "memory": (float, "memory"),
    "device": (str, "device"),
    "compile": (bool, "compiled"),
    "density": (bool, "density"),
}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ValueError: the file cannot be read or is not TOML; one line that names the file.
    """
    if sys.version_info < (3, 11):
        raise ValueError(f"{path.name}: expected Python 3.11 or newer to read TOML")
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name}: expected TOML, {error}") from None


def configured(folder: Path) -> list[Job]:
    """Return the jobs of ``[[tool.emcheck.targets]]`` in the ``pyproject.toml`` of a folder.

    Raises:
        ValueError: there is no target, or an entry is not understood; one line names it.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"expected a target, or a {FILE} with [[tool.emcheck.targets]], got none")
    tool = read_toml(path).get("tool", {}).get("emcheck", {})
    unknown = sorted(set(tool) - {"targets"})
    if unknown:
        raise ValueError(f"{FILE}: [tool.emcheck]: expected the key targets, got {unknown[0]!r}")
    targets = tool.get("targets", [])
    if not targets or not isinstance(targets, list):
        raise ValueError(f"{FILE}: expected [[tool.emcheck.targets]], got none")
    return [_job(given, number) for number, given in enumerate(targets, start=1)]


def _job(given: Any, number: int) -> Job:
    where = f"{FILE}: target {number} of [tool.emcheck]"
    if not isinstance(given, dict):
        raise ValueError(f"{where}: expected a table, got {given!r}")
    for key in ("target", "shape"):
        if key not in given:
            raise ValueError(f"{where}: expected the key {key}")
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key not in _KEYS:
            raise ValueError(f"{where}: expected one of {', '.join(_KEYS)}, got {key!r}")
        kind, name = _KEYS[key]
        number_of = kind is float and isinstance(value, int) and not isinstance(value, bool)
        wrong = not (isinstance(value, kind) or number_of)
        if wrong or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{where}: expected {key} to be {_kind(kind)}, got {value!r}")
        if kind is list:
            value = tuple(value)
        found[name] = tuple(value.items()) if kind is dict else value
    return Job(**found)


def _kind(kind: type) -> str:
    return {str: "a text", list: "a list", dict: "a table", int: "a whole number",
            float: "a number", bool: "true or false"}[kind]  # fmt: skip


def expected_of(path: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return a file's expected failures by target: ``[[expected]]`` with target, check and reason.

    Raises:
        ValueError: there is no entry, or one is malformed; one line names it.
    """
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    content = read_toml(path)
    for number, entry in enumerate(content.get("expected", []), start=1):
        keys = ("target", "check", "reason")
        if not isinstance(entry, dict) or set(entry) != set(keys):
            raise ValueError(f"{path.name}: entry {number}: expected target, check and reason")
        target, check, reason = (str(entry[key]) for key in keys)
        found[target] = (*found.get(target, ()), (check, reason))
    unknown = sorted(set(content) - {"expected"})
    if unknown or not found:
        got = repr(unknown[0]) if unknown else "none"
        raise ValueError(f"{path.name}: expected entries [[expected]], got {got}")
    return found
