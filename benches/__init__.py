"""Benchmarks: their cells, the check and the timing of each, and the record."""

from benches.cells import Cell as Cell
from benches.cells import Setup as Setup
from benches.plan import PROFILES as PROFILES
from benches.plan import Plan as Plan
from benches.plan import Profile as Profile
from benches.plan import make_plan as make_plan
from benches.run import CheckFailed as CheckFailed
from benches.run import run_cell as run_cell
from benches.workbench import Workbench as Workbench
