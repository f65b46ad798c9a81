"""A layer that is checked in a process of its own: one that kills it is a FAIL of one check."""

from emcheck.isolated.checker import IsolatedChecker as IsolatedChecker
from emcheck.isolated.reports import isolated_report as isolated_report
from emcheck.isolated.reports import locate as locate
from emcheck.isolated.reports import opened as opened
from emcheck.isolated.spare import Spare as Spare
from emcheck.isolated.wire import Job as Job
