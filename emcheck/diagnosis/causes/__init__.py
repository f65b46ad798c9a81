"""The causes that can be named, one kind in a file; importing this package registers them."""

from emcheck.diagnosis.causes import bad_input as bad_input
from emcheck.diagnosis.causes import contract as contract
from emcheck.diagnosis.causes import definitions as definitions
from emcheck.diagnosis.causes import gradients as gradients
from emcheck.diagnosis.causes import initialization as initialization
from emcheck.diagnosis.causes import inverses as inverses
from emcheck.diagnosis.causes import logdet_factors as logdet_factors
from emcheck.diagnosis.causes import logdet_forms as logdet_forms
from emcheck.diagnosis.causes import logdet_parts as logdet_parts
from emcheck.diagnosis.causes import logdet_places as logdet_places
from emcheck.diagnosis.causes import logdet_terms as logdet_terms
from emcheck.diagnosis.causes import mirrors as mirrors
from emcheck.diagnosis.causes import order as order
from emcheck.diagnosis.causes import permuted as permuted
from emcheck.diagnosis.causes import precision as precision
from emcheck.diagnosis.causes import raised as raised
from emcheck.diagnosis.causes import ranges as ranges
from emcheck.diagnosis.causes import rules as rules
from emcheck.diagnosis.causes import saving as saving
from emcheck.diagnosis.causes import seen_directly as seen_directly
from emcheck.diagnosis.causes import sensitivity as sensitivity
from emcheck.diagnosis.causes import sizes as sizes
from emcheck.diagnosis.causes import starting as starting
from emcheck.diagnosis.causes import state as state
from emcheck.diagnosis.causes import stencils as stencils
from emcheck.diagnosis.causes import widths as widths
