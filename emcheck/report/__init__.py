"""Reports on one layer, and the formats in which others read them: one file each."""

from emcheck.report.core import Report as Report
from emcheck.report.core import numbers_of as numbers_of
