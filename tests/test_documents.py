"""What is written for people is run: docstrings, pages, command lines and links."""

from __future__ import annotations

import copy
import doctest
import importlib
import importlib.util
import pkgutil
import re
import sys
import types
from collections.abc import Iterator

import matplotlib
import numpy as np
import pytest
import torch

import emcheck.flows
import emcheck.layers
from emcheck import bounds
from emcheck.bounds import THRESHOLDS
from emcheck.checks import CHECKS
from emcheck.diagnosis import known_causes
from emcheck.faults import FAULTS
from emcheck.specs import REGISTRY
from studies.report.docs_figures import FOLDER, PICTURES
from tests.documents import LINKED, ROOT, WRITTEN, Page, emcheck_commands, misparsed

README = Page(ROOT / "README.md")
LAYERS_PAGE = Page(ROOT / "docs" / "layers.md")
TOLERANCES_PAGE = Page(ROOT / "docs" / "tolerances.md")
#: Pages of which nothing is run.
REFERENCE = ("docs/api.md", "docs/contract.md")
PAGES = {page.name: page for page in map(Page, WRITTEN) if page.name not in REFERENCE}
EVERY_PAGE = {page.name: page for page in map(Page, LINKED)}
MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (emcheck.layers, emcheck.flows)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", REGISTRY)
def test_every_layer_has_an_example_and_the_sections(name: str) -> None:
    text = REGISTRY[name].__doc__ or ""
    for section in (">>> ", "Log-det:", "Cost:", "Reference:", "Args:", "Raises:", "arXiv"):
        assert section in text, f"{name} has no {section!r} in its docstring"


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Undoes what a page may do: checks and faults that it registers, random state, prints.

    On a busy machine no check of a page's report ends as NOT RUN.
    """
    for function in (emcheck.check_layer, emcheck.reproduce):
        monkeypatch.setitem(function.__kwdefaults__, "time_limit", 600.0)
    kept = {id(registry): copy.copy(registry) for registry in (CHECKS, FAULTS)}
    random_state, printing = torch.get_rng_state(), np.get_printoptions()
    yield monkeypatch
    for registry in (CHECKS, FAULTS):
        registry.clear()
        registry.update(kept[id(registry)])  # type: ignore[arg-type]
    torch.set_rng_state(random_state)
    np.set_printoptions(**printing)


@pytest.mark.parametrize("name", PAGES)
def test_python_of_a_page_runs(name: str, as_before: pytest.MonkeyPatch) -> None:
    """All blocks in one namespace, which is the module that the page writes."""
    page = PAGES[name]
    blocks = page.python
    assert blocks, f"{name} has no Python block"
    module = types.ModuleType(page.module)
    as_before.setitem(sys.modules, page.module, module)
    for block in blocks:
        # Blank lines in front, so that a traceback names the line of the page.
        code = compile("\n" * block.line + block.text, str(page.path), "exec")
        exec(code, module.__dict__)


def test_the_quick_start_prints_what_the_readme_shows(
    as_before: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = README.python[0]
    (shown,) = (b.text for b in README.blocks if b.line == start.line + start.text.count("\n") + 3)
    module = types.ModuleType("quick_start")
    as_before.setitem(sys.modules, module.__name__, module)
    exec(start.text, module.__dict__)
    assert _rounded(capsys.readouterr().out) == _rounded(shown)


def _rounded(text: str) -> str:
    """Numbers with four digits: the others depend on the processor."""
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.4g}", text)


@pytest.mark.parametrize("name", PAGES)
def test_command_lines_parse(name: str) -> None:
    for block in PAGES[name].shell:
        for arguments in emcheck_commands(block):
            problem = misparsed(arguments)
            where = f"{name}, line {block.line}: emcheck {' '.join(arguments)}"
            assert not problem, f"{where}: {problem}"


@pytest.mark.parametrize(
    "arguments", [["check", "--shap", "3"], ["chck"], ["density", "sweep", "--wrkers", "2"]]
)
def test_wrong_command_lines_do_not_parse(arguments: list[str]) -> None:
    assert re.search(r"(?i)missing|no such", misparsed(arguments))


def test_command_lines_are_found() -> None:
    """The parser sees commands: fewer than these would mean that it looks past them."""
    blocks = [block for page in PAGES.values() for block in page.shell]
    commands = [arguments for block in blocks for arguments in emcheck_commands(block)]
    assert ["run"] in commands
    assert len(commands) >= 7


@pytest.mark.parametrize("name", PAGES)
def test_modules_of_command_lines_exist(name: str) -> None:
    for block in PAGES[name].blocks:
        for module in re.findall(r"python\S* -m (emcheck[\w.]*)", block.text):
            assert importlib.util.find_spec(module), f"{name}, line {block.line}: no {module}"


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_links_and_images_exist(name: str) -> None:
    page = EVERY_PAGE[name]
    missing = []
    for target in page.targets():
        path, _, fragment = target.partition("#")
        file = page.path.parent / path if path else page.path
        if not file.exists():
            missing.append(target)
        elif fragment and file.suffix == ".md" and fragment not in Page(file).anchors:
            missing.append(f"{target} (no such heading)")
    assert not missing, f"{name} links to what is not there: {', '.join(missing)}"


def test_readme_has_exactly_two_install_lines() -> None:
    lines = README.text.splitlines()
    assert sum(line.startswith("python3 -m venv") for line in lines) == 2


def test_readme_links_every_page() -> None:
    for name in PAGES:
        assert name == README.name or f"({name})" in README.text, f"README.md does not link {name}"


@pytest.mark.parametrize("name", REGISTRY)
def test_every_layer_has_a_section_and_a_picture(name: str) -> None:
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", LAYERS_PAGE.text, re.DOTALL | re.MULTILINE)
    assert found, f"docs/layers.md has no section '## {name}'"
    for part in ("**Log-det**", "**Inverse**", "**Cost**", "**Initial value**", "**Reference**"):
        assert part in found[1], f"the section on {name} in docs/layers.md has no {part}"
    assert f"(figures/{name}.svg)" in found[1], f"docs/layers.md has no picture of {name}"


def _pinned_matplotlib() -> bool:
    pins = re.findall(r"^matplotlib==([\d.]+)", (ROOT / "constraints.txt").read_text(), re.M)
    return matplotlib.__version__ in pins


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_what_the_code_draws(name: str) -> None:
    if not _pinned_matplotlib():
        pytest.skip(f"matplotlib {matplotlib.__version__} is not the one of constraints.txt")
    file = FOLDER / f"{name}.svg"
    assert file.exists(), f"no {file.name}: run python -m studies.report.docs_figures"
    drawn = PICTURES[name].draw()
    assert file.read_bytes() == drawn, f"{file.name}: run python -m studies.report.docs_figures"


def test_no_picture_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("*.svg")} == set(PICTURES)
    for name in PICTURES:
        assert f"(figures/{name}.svg)" in LAYERS_PAGE.text, f"docs/layers.md does not show {name}"


@pytest.mark.parametrize("rule", THRESHOLDS)
def test_every_rule_is_derived(rule: str) -> None:
    assert f"\n## {rule}\n" in TOLERANCES_PAGE.text, f"docs/tolerances.md has no '## {rule}'"
    row = re.search(rf"^\| \[{rule}\]\(#\w+\) \| .* \| (\S+) \|$", TOLERANCES_PAGE.text, re.M)
    assert row, f"docs/tolerances.md has no {rule} in its table"
    assert float(row[1]) == THRESHOLDS[rule]


def test_every_number_of_the_bounds_is_named() -> None:
    names = [
        n for n, value in vars(bounds).items() if n.isupper() and isinstance(value, int | float)
    ]
    text = TOLERANCES_PAGE.text
    said = {"FINITE_DIFFERENCE": "1e-6", "PROBE_DEVIATIONS": "6 deviation", "PROBE_FLOOR": "1e-9 n"}
    for name in names:
        assert said.get(name, name) in text, f"docs/tolerances.md does not name {name}"


def test_every_cause_that_can_be_named_stands_in_the_catalogue() -> None:
    page = (ROOT / "docs" / "reading-a-report.md").read_text()
    missing = [cause for cause in known_causes() if f"`{cause}`" not in page]
    assert not missing, f"docs/reading-a-report.md does not list {missing}"
