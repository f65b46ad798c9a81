"""The checks: each is one function, judges one clause and fills one column of the report."""

from emcheck.checks import bad_input as bad_input
from emcheck.checks import compiled as compiled
from emcheck.checks import contract as contract
from emcheck.checks import density as density
from emcheck.checks import estimates as estimates
from emcheck.checks import gradients as gradients
from emcheck.checks import log_prob as log_prob
from emcheck.checks import logdet_rules as logdet_rules
from emcheck.checks import logdets as logdets
from emcheck.checks import process as process
from emcheck.checks import starting as starting
from emcheck.checks import state as state
from emcheck.checks import structure as structure
from emcheck.checks import tolerances as tolerances
from emcheck.checks import transforms as transforms
from emcheck.checks import values as values
from emcheck.checks.case import Case as Case
from emcheck.checks.case import Subject as Subject
from emcheck.checks.core import CHECKS as CHECKS
from emcheck.checks.core import Check as Check
from emcheck.checks.core import run_check as run_check
