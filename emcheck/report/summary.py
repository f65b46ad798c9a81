"""summary.md: the verdict first, then how to read it, then the evidence."""

from __future__ import annotations

from emcheck.report.frames import Frames, csv_tables
from emcheck.report.judgement import judge
from emcheck.report.markdown import csv_link
from emcheck.report.sections.canaries import canaries
from emcheck.report.sections.contests import contests
from emcheck.report.sections.coverage import gaps, images
from emcheck.report.sections.density import density
from emcheck.report.sections.growth import growth
from emcheck.report.sections.kills import kills
from emcheck.report.sections.opening import HOW_TO_READ, headline, provenance
from emcheck.report.sections.ratios import ratios
from emcheck.report.sections.speed import price, times
from emcheck.report.sections.verdicts import verdicts

SECTIONS = (
    provenance,
    canaries,
    verdicts,
    ratios,
    kills,
    contests,
    times,
    price,
    growth,
    density,
    images,
    gaps,
)


def summary(frames: Frames) -> str:
    """The whole page."""
    tables = "\n".join(f"- {csv_link(name)}" for name in sorted(csv_tables(frames)))
    parts = ["# emcheck report", headline(frames, judge(frames)), HOW_TO_READ]
    parts += [section(frames) for section in SECTIONS]
    parts.append(f"## All tables\n\n{tables}")
    return "\n\n".join(parts) + "\n"
