"""Numerical verification and benchmarks for invertible layers of normalizing flows."""

from emcheck.adapters import adapt as adapt
from emcheck.flows import Chain as Chain
from emcheck.flows import Inverse as Inverse
from emcheck.kit import Report as Report
from emcheck.kit import check_layer as check_layer
from emcheck.kit import parametrize_with_checks as parametrize_with_checks
from emcheck.kit import reproduce as reproduce
from emcheck.result import Result as Result
from emcheck.result import Verdict as Verdict

__version__ = "0.1.0"
