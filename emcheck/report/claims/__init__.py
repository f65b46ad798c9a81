"""claims.md: each doubt with its claim, evidence, picture and verdict."""

from emcheck.report.claims.load import read_claims as read_claims
from emcheck.report.claims.write import write_claims as write_claims
