"""``emcheck run``: stages one after the other, resumed where an interrupted run stopped."""

from studies.suite.sequence import Context as Context
from studies.suite.sequence import Stage as Stage
from studies.suite.sequence import run_stages as run_stages
from studies.suite.settings import Settings as Settings
