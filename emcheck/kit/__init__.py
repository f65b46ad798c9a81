"""Runs every check that applies to a layer, without pytest."""

from emcheck.checker import EXAMPLES as EXAMPLES
from emcheck.checker import REPORT_LIMIT as REPORT_LIMIT
from emcheck.checker import TIME_LIMIT as TIME_LIMIT
from emcheck.checker import Progress as Progress
from emcheck.kit.checker import Checker as Checker
from emcheck.kit.checking import check_layer as check_layer
from emcheck.kit.checking import reproduce as reproduce
from emcheck.kit.options import DTYPES as DTYPES
from emcheck.kit.pytest_checks import parametrize_with_checks as parametrize_with_checks
from emcheck.kit.target import Reference as Reference
from emcheck.kit.target import Sample as Sample
from emcheck.report import Report as Report
