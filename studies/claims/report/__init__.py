"""claims.md: each doubt with its claim, evidence, picture and verdict."""

from studies.claims.report.load import claims_frame as claims_frame
from studies.claims.report.load import read_told as read_told
from studies.claims.report.write import write_claims as write_claims
