"""Solvers for triangular convolutions, one algorithm per file behind ``solve_masked``."""

from emcheck.solve.implicit import solve_masked as solve_masked
from emcheck.solve.masks import Mask as Mask
from emcheck.solve.masks import live_taps as live_taps
from emcheck.solve.masks import validate_mask as validate_mask
