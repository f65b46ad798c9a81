"""A layer that is examined in a process of its own: one that kills it is a FAIL of one check."""

from emcheck.isolated.examination import Spare as Spare
from emcheck.isolated.examination import isolated_report as isolated_report
from emcheck.isolated.examination import locate as locate
from emcheck.isolated.examination import opened as opened
from emcheck.isolated.wire import Job as Job
