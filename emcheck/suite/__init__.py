"""``emcheck run``: stages one after the other, resumed where an interrupted run stopped."""

from emcheck.suite.sequence import Context as Context
from emcheck.suite.sequence import Stage as Stage
from emcheck.suite.sequence import run_stages as run_stages
from emcheck.suite.settings import Settings as Settings
