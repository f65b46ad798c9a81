"""The one HTML file of a report, read by a parser: complete, self-contained, reproducible."""

from __future__ import annotations

import base64
import html
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from emcheck.cli.main import app
from studies import cli
from studies.pages.markdown import csv_link, figure, fold, table
from studies.report import ReportError
from studies.report.html import target_of, write_html

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="700" height="60"><g id="g1"/></svg>'

SUMMARY = f"""# A report

**PASS: nothing failed.** {csv_link("times")}, [the survey](survey.md#layer-by-layer),
[below](#same),
[a web page](https://example.org/), [another file](../docs/other.md).

{table(["layer", *(f"column {n}" for n in range(12))], [["`Conv1x1`", *range(12)]])}

{figure("times", "Time against pixels. All of them.")}

## Same

{fold("<code>Conv1x1</code>: all sizes", table(["a", "b"], [["x &lt; y", 1]]))}

## Same

<script>alert(1)</script> and <img src="http://example.org/a.png">
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The Markdown of a small report: two pages, one figure, one table."""
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()
    (tmp_path / "tables" / "times.csv").write_text("layer,seconds\nConv1x1,0.5\n")
    (tmp_path / "figures" / "times.svg").write_text(SVG)
    (tmp_path / "summary.md").write_text(SUMMARY)
    (tmp_path / "survey.md").write_text(
        "# Field survey\n\n## Layer by layer\n\nsee [it](summary.md)\n"
    )
    return tmp_path


class Reader(HTMLParser):
    """What a file loads, where its links lead, and what they can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.loads: list[str] = []
        self.downloads: dict[str, str] = {}
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a" and "download" in found:
            self.downloads[found["download"]] = found["href"]
        elif tag == "a":
            self.anchors.append(found["href"])
        elif tag != "meta":
            loaded = ("src", "href", "srcset", "data", "poster", "action", "xlink:href")
            self.loads += [found[key] for key in loaded if key in found]

    def problems(self) -> list[str]:
        """What would load something else, lead nowhere, or name two things alike."""
        found = [f"loads {source[:40]}" for source in self.loads if source[:5] != "data:"]
        inner = [href for href in self.anchors if not href.startswith(("http://", "https://"))]
        found += [f"leads to {href}" for href in inner if href[1:] not in self.ids]
        found += [f"twice {name}" for name in sorted(set(self.ids)) if self.ids.count(name) > 1]
        return found + ["a script"] * self.tags.count("script")


def written(site: Path) -> str:
    return write_html(site).read_text(encoding="utf-8")


def test_the_file_needs_nothing_else(site: Path) -> None:
    text = written(site)
    reader = Reader(text)
    assert reader.problems() == []
    assert reader.tags.count("img") == 1
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ('<img src="http://example.org/a.png">', "loads http://example.org/a.png"),
        ('<img src="figures/times.svg">', "loads figures/times.svg"),
        (
            '<link rel="stylesheet" href="https://example.org/a.css">',
            "loads https://example.org/a.css",
        ),
        ('<a href="#nowhere">x</a>', "leads to #nowhere"),
        ('<a href="survey.md">x</a>', "leads to survey.md"),
        ('<p id="summary">x</p>', "twice summary"),
        ("<script>1</script>", "a script"),
    ],
)
def test_the_reader_sees_what_is_broken(site: Path, broken: str, problem: str) -> None:
    text = written(site).replace("</main>", f"{broken}</main>")
    assert Reader(text).problems() == [problem]


def test_every_page_is_there_and_links_stay_inside(site: Path) -> None:
    text = written(site)
    reader = Reader(text)
    assert {"summary", "survey", "tables", "summary--same", "summary--same-1"} <= set(reader.ids)
    for anchor in ("#survey--layer-by-layer", "#summary--same", "#table--times", "#summary"):
        assert anchor in reader.anchors
    assert "https://example.org/" in reader.anchors
    assert "another file (../docs/other.md)" in text
    (site / "density.md").write_text("# Density\n")
    assert "density" in Reader(written(site)).ids


def test_the_tables_can_be_saved(site: Path) -> None:
    (uri,) = Reader(written(site)).downloads.values()
    kind, content = uri.split(";base64,")
    assert kind.startswith("data:text/csv")
    assert base64.b64decode(content) == (site / "tables" / "times.csv").read_bytes()


def test_a_table_that_is_not_there_is_a_path(site: Path) -> None:
    (site / "tables" / "times.csv").unlink()
    text = written(site)
    assert "times.csv (tables/times.csv)" in text
    assert Reader(text).problems() == []


def test_folds_stay_and_other_tags_are_text(site: Path) -> None:
    text = written(site)
    assert "<details><summary><code>Conv1x1</code>: all sizes</summary>" in text
    assert "&lt;script>alert(1)" in text
    assert "x &lt; y" in text
    assert text.count('<div class="scroll"') == text.count("<table") == 2
    assert text.count('<table class="wide">') == 1
    assert 'class="figure"' in text
    assert 'class="caption"' in text


def test_same_pages_same_bytes(site: Path, tmp_path: Path) -> None:
    first = write_html(site).read_bytes()
    other = write_html(site, tmp_path / "elsewhere" / "page.html")
    assert other.read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_a_missing_image_leaves_the_old_file(site: Path) -> None:
    target = write_html(site)
    before = target.read_bytes()
    (site / "figures" / "times.svg").unlink()
    with pytest.raises(ReportError, match=r"times\.svg: expected a file to embed, got No such"):
        write_html(site)
    assert target.read_bytes() == before
    assert not list(site.glob("*.part"))


def test_no_page_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="expected a page"):
        write_html(tmp_path)


def test_a_measurement_is_no_target(tmp_path: Path) -> None:
    assert target_of(tmp_path) == tmp_path / "report.html"
    assert target_of(tmp_path, "x.html") == Path("x.html")
    with pytest.raises(ReportError, match=r"ends in \.html"):
        target_of(tmp_path, "benchmarks.json")


@pytest.mark.parametrize(
    ("words", "inputs", "target"),
    [
        ([], [], None),
        (["--html"], [], "report.html"),
        (["--html", "x.html"], [], "x.html"),
        (["--html=x.html"], [], "x.html"),
        (["--html", "b.json"], ["b.json"], "report.html"),
        (["b.json", "--html"], ["b.json"], "report.html"),
        (["--html=b.json"], None, None),
    ],
)
def test_the_option_takes_a_name_or_none(
    words: list[str],
    inputs: list[str] | None,
    target: str | None,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``--html b.json`` reads the measurement and does not write over it."""
    asked: list[list[str]] = []

    def pretend(benchmarks: list[Path], properties: None, out: Path, contests: None) -> Path:
        asked.append([path.name for path in benchmarks])
        return out / "summary.md"

    monkeypatch.setattr(cli, "_write_report", pretend)
    monkeypatch.chdir(site)
    arguments = ["report", "--out", ".", *words]
    if inputs is None:
        with pytest.raises(ReportError, match=r"b\.json: expected a file name"):
            app(arguments, standalone_mode=False)
        assert asked == []
        return
    app(arguments, standalone_mode=False)
    assert asked == [inputs]
    assert [path.name for path in site.glob("*.html")] == ([target] if target else [])


def test_text_of_the_style_has_no_address() -> None:
    style = Path(cli.__file__).parent / "report" / "html" / "style.css"
    assert re.findall(r"https?:|url\(|@import", style.read_text(encoding="utf-8")) == []


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = Path(__file__).parent.parent / "reports"
    return write_html(kept, tmp_path_factory.mktemp("html") / "report.html")


def test_the_file_of_the_reference_run_is_small(reference: Path) -> None:
    size = reference.stat().st_size
    assert size <= 3e6, f"expected at most 3 MB, got {size:,} bytes"


def test_every_figure_of_the_reference_run_is_well_formed(reference: Path) -> None:
    """A browser shows nothing of a picture that is no XML."""
    images = re.findall(r'src="data:image/svg\+xml,([^"]*)"', reference.read_text(encoding="utf-8"))
    assert len(images) > 10
    for image in images:
        drawn = ElementTree.fromstring(unquote(html.unescape(image)))
        assert drawn.tag.endswith("svg")
