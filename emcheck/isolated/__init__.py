"""Checks of a layer in a process of its own: if the layer kills it, one check is a FAIL."""

from emcheck.isolated.checker import IsolatedChecker as IsolatedChecker
from emcheck.isolated.reports import isolated_report as isolated_report
from emcheck.isolated.reports import locate as locate
from emcheck.isolated.reports import opened as opened
from emcheck.isolated.spare import Spare as Spare
from emcheck.isolated.wire import Job as Job
