"""The campaign of bad inputs, all of them: a part would miss what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.campaign.__main__ import inputs
from tests.campaign.core import Input

#: As many inputs as there must be.
LEAST = 300


def test_the_campaign_is_whole() -> None:
    counts = Counter(given.kind for given in inputs())
    assert counts.total() >= LEAST, counts
    names = Counter((given.kind, given.name) for given in inputs())
    assert not [name for name, count in names.items() if count > 1]
    assert not [name for name in names if " at 0x" in name[1]], "a name differs from run to run"


@pytest.mark.parametrize("given", [*inputs()], ids=lambda given: f"{given.kind}: {given.name}"[:60])
def test_an_input_ends_in_the_line_that_it_must(given: Input, tmp_path: Path) -> None:
    assert given.trouble(tmp_path) == ""


def test_a_traceback_or_another_line_is_bad(tmp_path: Path) -> None:
    def raises(folder: Path) -> str:
        raise KeyError("no line")

    assert "KeyError" in Input("kind", "raises", raises, "").trouble(tmp_path)
    assert "more than one line" in Input("kind", "two", lambda f: "a\nb", "a").trouble(tmp_path)
    assert "expected a line" in Input("kind", "other", lambda f: "a", "b").trouble(tmp_path)
    assert Input("kind", "good", lambda f: "a", "a").trouble(tmp_path) == ""
