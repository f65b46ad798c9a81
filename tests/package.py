"""The wheel alone, outside of the checkout: by hand, ``tox run -e package``.

Builds sdist and wheel, installs the wheel with its dependencies in a new environment (with
``--borrow`` it sees those of this one instead, which takes seconds) and uses it there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: What folders of installed packages are called.
_PACKAGES = ("site-packages", "dist-packages")

MINE = """
from emcheck.layers import ActNorm2d


def make():
    return ActNorm2d(2)
"""

#: Folders that are in a checkout and its sdist, never in a wheel.
_CHECKOUT = ("studies/", "properties/", "tests/", "benches/")

#: Words of a command, its exit code and what it says.
USES = (
    (("check", "mine:make", "--shape", "2,3,2"), 0, "ActNorm2d on (2, 3, 2), seed 0: ok"),
    (("run",), 2, "emcheck run needs a checkout of emcheck"),
    (("properties",), 2, "emcheck properties needs a checkout of emcheck"),
    (("bench",), 2, "emcheck bench needs a checkout of emcheck"),
    (("report", "--html", "x.html"), 2, "emcheck report needs a checkout of emcheck"),
)


def build(out: Path) -> tuple[Path, Path]:
    """Wheel and sdist of the checkout."""
    words = [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def wheel_here(out: Path) -> Path:
    """A wheel made with the tools of this environment, without a network."""
    words = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(out)]
    subprocess.run([sys.executable, *words, str(ROOT)], check=True)
    return next(out.glob("*.whl"))


def complaints(wheel: Path, sdist: Path | None = None) -> list[str]:
    """What is missing from the archives, and what should not be there."""
    names = zipfile.ZipFile(wheel).namelist()
    found = [f"wheel: {name}" for name in names if name.startswith(_CHECKOUT)]
    wanted = ["emcheck/py.typed", "emcheck/cli/main.py", "licenses/LICENSE"]
    found += [f"wheel lacks {name}" for name in wanted if not any(n.endswith(name) for n in names)]
    if sdist is not None:
        with tarfile.open(sdist) as archive:
            names = archive.getnames()
        wanted = [
            "LICENSE",
            "CHANGELOG.md",
            "emcheck/py.typed",
            "properties/conftest.py",
            "studies/cli.py",
        ]
        found += [f"sdist lacks {w}" for w in wanted if not any(n.endswith(w) for n in names)]
    return found


def _environment() -> dict[str, str]:
    """The environment without a PYTHONPATH, through which pip would see the checkout."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def install(wheel: Path, folder: Path, borrow: bool) -> Path:
    """A new environment with the wheel; its Python."""
    venv.create(folder, with_pip=not borrow)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not borrow:
        words = ["pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel)]
        subprocess.run([str(python), "-m", *words], check=True, env=_environment())
        return python
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(
        subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # Behind its own folder, and without what an editable install adds to the path.
    borrowed = [place for place in sys.path if Path(place).name in _PACKAGES]
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return python


def use(python: Path, folder: Path) -> list[str]:
    """What goes wrong when a stranger uses the installed package in a folder of their own."""
    (folder / "mine.py").write_text(MINE, encoding="utf-8")
    found = []
    for words, code, says in USES:
        done = subprocess.run(
            [str(python), "-m", "emcheck", *words],
            cwd=folder, env=_environment(), capture_output=True, text=True,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode != code or says not in said:
            found.append(f"emcheck {' '.join(words)}: {done.returncode}, {said}")
        if code and said.count("\n") != 1:
            found.append(f"emcheck {' '.join(words)}: expected one line, got {said}")
    left = sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")
    return found if left == ["mine.py"] else [*found, f"left behind: {left}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--borrow", action="store_true", help="dependencies of this environment")
    borrow = parser.parse_args().borrow
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel, sdist = build(folder / "dist")
        (folder / "work").mkdir()
        found = complaints(wheel, sdist)
        found += use(install(wheel, folder / "env", borrow), folder / "work")
        print(f"{wheel.name} and {sdist.name}: {'; '.join(found) or 'ok'}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
