"""Explanations of failing checks: hypotheses tried on evidence, those that fit named."""

from emcheck.diagnosis import border as border
from emcheck.diagnosis import contract as contract
from emcheck.diagnosis import definitions as definitions
from emcheck.diagnosis import gradients as gradients
from emcheck.diagnosis import initialization as initialization
from emcheck.diagnosis import inverses as inverses
from emcheck.diagnosis import logdet_factors as logdet_factors
from emcheck.diagnosis import logdet_places as logdet_places
from emcheck.diagnosis import logdet_terms as logdet_terms
from emcheck.diagnosis import order as order
from emcheck.diagnosis import precision as precision
from emcheck.diagnosis import ranges as ranges
from emcheck.diagnosis import rules as rules
from emcheck.diagnosis import saving as saving
from emcheck.diagnosis import sizes as sizes
from emcheck.diagnosis import state as state
from emcheck.diagnosis import stencils as stencils
from emcheck.diagnosis.core import Explanation as Explanation
from emcheck.diagnosis.core import Finding as Finding
from emcheck.diagnosis.core import causes as causes
from emcheck.diagnosis.core import diagnose as diagnose
