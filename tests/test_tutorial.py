"""The notebook: its cells run in order and say what their kept outputs say."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from emcheck import Report
from tests.documents import ROOT

NOTEBOOK = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("ignore")
def test_every_cell_runs_and_reports_are_those_that_are_shown() -> None:
    space: dict[str, Any] = {"__name__": "tutorial"}
    shown = 0
    for number, cell in enumerate(NOTEBOOK["cells"]):
        if cell["cell_type"] != "code":
            continue
        *lines, last = "".join(cell["source"]).split("\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expression = compile(last, f"cell {number}", "eval")
            except SyntaxError:
                exec(compile("\n".join([*lines, last]), f"cell {number}", "exec"), space)
                continue
            exec(compile("\n".join(lines), f"cell {number}", "exec"), space)
            value = eval(expression, space)
        if isinstance(value, Report):
            (output,) = cell["outputs"]
            html = "".join(output["data"]["text/html"])
            assert [failure.check for failure in value.failures if failure.check not in html] == []
            assert value.headline.splitlines()[0] in html
            assert all(one.text.partition("`")[0] in html for one in value.explanations[:1])
            shown += 1
    assert shown == 2


def test_outputs_name_no_machine() -> None:
    kept = json.dumps([cell.get("outputs") for cell in NOTEBOOK["cells"]])
    assert "/tmp" not in kept
    assert "/home" not in kept
    assert "image/svg+xml" in kept
