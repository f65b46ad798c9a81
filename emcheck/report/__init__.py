"""What ``check_layer`` says of one layer, and the forms in which others read it: a file each."""

from emcheck.report.core import Report as Report
from emcheck.report.core import numbers_of as numbers_of
