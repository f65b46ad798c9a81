"""The kit over a matrix of cases: targets x shapes x dtypes x seeds, on a Dask cluster."""

from emcheck.matrix.case import Settings as Settings
from emcheck.matrix.case import every_case as every_case
from emcheck.matrix.run import Outcome as Outcome
from emcheck.matrix.run import run_matrix as run_matrix
