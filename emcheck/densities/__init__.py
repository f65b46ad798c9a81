"""Whole flows: is ``log_prob`` a density, and do the samples follow it?"""

from emcheck.densities.checking import DensityChecker as DensityChecker
from emcheck.densities.checking import check_density as check_density
from emcheck.densities.checks import DENSITY_CHECKS as DENSITY_CHECKS
