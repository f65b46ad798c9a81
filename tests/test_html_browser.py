"""The HTML file in a real browser: nothing broken, too wide, faint, or loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studies.report.html import write_html
from tests.browser import Tab, chromium, find

pytestmark = pytest.mark.system

HERE = Path(__file__).parent
PROBE = (HERE / "page_probe.js").read_text(encoding="utf-8")

#: A phone and a laptop.
WIDTHS = (375, 1280)

_TELLING = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    program = find()
    if program is None:
        print("no Chromium on this machine")
        pytest.skip("no Chromium on this machine")
    with chromium(program, tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the repository as one file."""
    return write_html(HERE.parent / "reports", tmp_path_factory.mktemp("page") / "report.html")


def problems(tab: Tab, path: Path, width: int, scheme: str = "light") -> dict[str, Any]:
    """What is wrong with the file at that width; nothing: an empty dictionary."""
    tab.open(path, width, scheme)
    seen = tab.run(PROBE)
    assert seen["width"] == width
    assert seen["texts"] > 0
    told = [event["method"] for event in tab.events if event.get("method") in _TELLING]
    asked = [
        event["params"]["request"]["url"]
        for event in tab.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    loaded = [url for url in asked if url != path.resolve().as_uri() and url[:5] != "data:"]
    names = ("overflow", "wide", "broken", "faint", "repeated")
    found = {name: seen[name] for name in names} | {"console": told, "loaded": loaded}
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_is_whole(tab: Tab, page: Path, width: int, scheme: str, tmp_path: Path) -> None:
    found = problems(tab, page, width, scheme)
    if found:
        tab.screenshot(tmp_path / "page.png")
    assert not found, f"{found}; the top of the page: {tmp_path / 'page.png'}"


def test_the_schemes_differ(tab: Tab, page: Path) -> None:
    colours = []
    for scheme in ("light", "dark"):
        tab.open(page, 1280, scheme)
        colours.append(tab.run("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


BROKEN = {
    "overflow": '<p style="width: 3000px">a long line</p>',
    "wide": '<div style="overflow: hidden"><p style="width: 3000px">cut off</p></div>',
    "broken": '<img alt="none" src="data:image/png;base64,AAAA">',
    "faint": '<p style="color: #999; background: #fff">too faint</p>',
    "repeated": '<p id="twice">1</p><p id="twice">2</p>',
    "console": "<script>undefined_name()</script>",
    "loaded": '<img alt="other" src="other.svg">',
}


@pytest.mark.parametrize("problem", BROKEN)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_probe_sees_what_is_broken(tab: Tab, tmp_path: Path, problem: str, width: int) -> None:
    (tmp_path / "summary.md").write_text("# A report\n\nwith words\n")
    (tmp_path / "other.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    )
    path = write_html(tmp_path)
    assert problems(tab, path, width) == {}
    path.write_text(path.read_text().replace("</main>", f"{BROKEN[problem]}</main>"))
    assert problem in problems(tab, path, width)


def test_a_fold_is_looked_into(tab: Tab, tmp_path: Path) -> None:
    hidden = '<details><summary>fold</summary><p style="color: #999">x</p></details>'
    (tmp_path / "summary.md").write_text("# A report\n")
    path = write_html(tmp_path)
    path.write_text(path.read_text().replace("</main>", f"{hidden}</main>"))
    assert problems(tab, path, 375)["faint"] == [["p: x", 2.85]]
