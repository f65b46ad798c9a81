"""Explanations of failing checks: hypotheses are tried on evidence, those that fit are named."""

import emcheck.diagnosis.causes  # noqa: F401  (registers them)
from emcheck.diagnosis.evidence.scene import Finding as Finding
from emcheck.diagnosis.rank import diagnose as diagnose
from emcheck.diagnosis.rank import known_causes as known_causes
from emcheck.diagnosis.rank import search as search
