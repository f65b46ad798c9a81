"""The cases in which gradients are checked."""

from __future__ import annotations

from dataclasses import replace

import torch

from emcheck.checks.case import Case, Subject


def smooth(case: Case, subject: Subject) -> Case:
    """Return a case for gradients: in float64, on a small event, not ill-conditioned."""
    style = "mixed" if case.style in ("ill", "mixed") else "trained"
    dtype = torch.float64 if subject.doubles else case.dtype
    scale = case.scale if case.wide else "unit"
    found = replace(case, dtype=dtype, style=style, scale=scale, batch=max(case.batch, 1))
    return subject.clip(found, 3, 4)
