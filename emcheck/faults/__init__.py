"""Seeded faults: broken layers on which every check is seen to fail before it is trusted."""

from emcheck.faults import autoregression as autoregression
from emcheck.faults import cayley as cayley
from emcheck.faults import contract as contract
from emcheck.faults import conventions as conventions
from emcheck.faults import corners as corners
from emcheck.faults import determinant as determinant
from emcheck.faults import exponentials as exponentials
from emcheck.faults import frequencies as frequencies
from emcheck.faults import gradients as gradients
from emcheck.faults import initialization as initialization
from emcheck.faults import inverse as inverse
from emcheck.faults import logdet as logdet
from emcheck.faults import logdet_of_flows as logdet_of_flows
from emcheck.faults import low_rank as low_rank
from emcheck.faults import masks as masks
from emcheck.faults import memory as memory
from emcheck.faults import rules as rules
from emcheck.faults import state as state
from emcheck.faults import structure as structure
from emcheck.faults import tolerances as tolerances
from emcheck.faults.core import FAULTS as FAULTS
from emcheck.faults.core import Fault as Fault
from emcheck.faults.core import Faulty as Faulty
from emcheck.faults.killing import Row as Row
from emcheck.faults.killing import run_fault as run_fault
