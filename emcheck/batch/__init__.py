"""The kit over a matrix of cases: targets x shapes x dtypes x seeds, on a Dask cluster."""

from emcheck.batch.case import Settings as Settings
from emcheck.batch.case import every_case as every_case
from emcheck.batch.run import Outcome as Outcome
from emcheck.batch.run import run_matrix as run_matrix
