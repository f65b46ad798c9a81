"""Benchmarks: which cells there are, how one is checked, how one is timed, what is recorded."""

from emcheck.bench.cells import Cell as Cell
from emcheck.bench.cells import Setup as Setup
from emcheck.bench.plan import PROFILES as PROFILES
from emcheck.bench.plan import Plan as Plan
from emcheck.bench.plan import Profile as Profile
from emcheck.bench.plan import make_plan as make_plan
from emcheck.bench.run import CheckFailed as CheckFailed
from emcheck.bench.run import run_cell as run_cell
from emcheck.bench.workbench import Workbench as Workbench
