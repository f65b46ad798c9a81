"""What belongs to the user runs under guard: limited in time, and nothing it changes stays.

:func:`foreign` tells what a layer raised from what only passed through it, :func:`time_limit`
ends what runs too long, :class:`Surroundings` puts back what belongs to the whole process.
"""

from emcheck.guard.limit import TimeLimit as TimeLimit
from emcheck.guard.limit import time_limit as time_limit
from emcheck.guard.raised import Interrupt as Interrupt
from emcheck.guard.raised import foreign as foreign
from emcheck.guard.raised import one_line as one_line
from emcheck.guard.raised import raised_by as raised_by
from emcheck.guard.surroundings import Surroundings as Surroundings
from emcheck.guard.surroundings import changed_so_far as changed_so_far
from emcheck.guard.surroundings import settings_kept as settings_kept
