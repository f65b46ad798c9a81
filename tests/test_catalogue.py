"""What ``emcheck list`` reads from the sources is what the registries hold."""

from __future__ import annotations

import subprocess
import sys

from emcheck.checks import CHECKS
from emcheck.cli import catalogue
from emcheck.faults import FAULTS
from emcheck.specs import REGISTRY


def test_layers_are_those_of_the_registry() -> None:
    assert catalogue.layers() == [
        (name, (cls.__doc__ or "").partition("\n")[0]) for name, cls in REGISTRY.items()
    ]


def test_checks_are_those_of_the_registry() -> None:
    found = [(check.name, check.summary) for check in CHECKS.values()]
    assert sorted(catalogue.checks()) == sorted(found)  # which imports which decides the order


def test_faults_are_those_of_the_registry() -> None:
    assert catalogue.faults() == [(fault.name, fault.summary) for fault in FAULTS.values()]


def test_quick_answers_load_no_torch() -> None:
    """Neither do the parent of ``emcheck check`` and the public package."""
    program = (
        "import sys, emcheck, emcheck.cli.main, emcheck.isolated, emcheck.cli.show\n"
        "emcheck.cli.show.render_catalogue()\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'numba', 'mpmath'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
