"""User code runs under guard: its time is limited, and its changes to the process are undone.

:func:`foreign` tells what a layer raised from what only passed through it, :func:`time_limit`
ends what runs too long, and ``Surroundings`` in :mod:`emcheck.guard.surroundings`, which needs
torch, restores the settings of the whole process.
"""

from emcheck.guard.limit import TimeLimit as TimeLimit
from emcheck.guard.limit import time_limit as time_limit
from emcheck.guard.raised import Interrupt as Interrupt
from emcheck.guard.raised import foreign as foreign
from emcheck.guard.raised import one_line as one_line
from emcheck.guard.raised import raised_by as raised_by
from emcheck.guard.raised import raised_in as raised_in
