"""claims.md: each doubt with its claim, evidence, picture and verdict."""

from studies.claims.report.load import read_claims as read_claims
from studies.claims.report.write import write_claims as write_claims
