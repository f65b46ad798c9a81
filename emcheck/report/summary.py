"""summary.md: a front of two minutes, then how to read it, then the long tables."""

from __future__ import annotations

from emcheck.report.frames import Frames, csv_tables
from emcheck.report.judgement import judge
from emcheck.report.markdown import csv_link
from emcheck.report.sections.accuracy import accuracy
from emcheck.report.sections.canaries import canaries
from emcheck.report.sections.claims import claims
from emcheck.report.sections.contests import contests
from emcheck.report.sections.coverage import gaps, images
from emcheck.report.sections.density import density
from emcheck.report.sections.growth import growth
from emcheck.report.sections.kills import kills
from emcheck.report.sections.opening import headline
from emcheck.report.sections.power import power
from emcheck.report.sections.provenance import HOW_TO_READ, provenance
from emcheck.report.sections.ratios import ratios
from emcheck.report.sections.speed import speed
from emcheck.report.sections.survey import survey
from emcheck.report.sections.times import price, times
from emcheck.report.sections.verdicts import verdicts

#: What is read first, in two minutes.
FRONT = (power, speed, accuracy, survey, density, claims)

#: What stands behind every number.
GROUNDS = (provenance, canaries, gaps)

#: The evidence in full, in the order of the front; long tables are folded.
BEHIND = (kills, contests, times, price, growth, verdicts, ratios, images)


def summary(frames: Frames) -> str:
    """The whole page."""
    tables = "\n".join(f"- {csv_link(name)}" for name in sorted(csv_tables(frames)))
    parts = ["# emcheck report", headline(frames, judge(frames))]
    parts += [section(frames) for section in FRONT]
    parts += ["---", HOW_TO_READ, *(section(frames) for section in GROUNDS)]
    parts += ["## The long tables", *(section(frames) for section in BEHIND)]
    parts.append(f"## All tables\n\n{tables}")
    return "\n\n".join(parts) + "\n"
