"""summary.md, a front of two minutes and how to read it; details.md, the long tables."""

from __future__ import annotations

from studies.pages.markdown import csv_link
from studies.report.frames import Frames, csv_tables
from studies.report.judgement import judge
from studies.report.sections.accuracy import accuracy
from studies.report.sections.claims import claims
from studies.report.sections.contests import contests
from studies.report.sections.coverage import gaps, images
from studies.report.sections.density import density
from studies.report.sections.growth import growth
from studies.report.sections.kills import kills
from studies.report.sections.opening import headline
from studies.report.sections.power import power
from studies.report.sections.provenance import HOW_TO_READ, provenance
from studies.report.sections.ratios import ratios
from studies.report.sections.self_tests import self_tests
from studies.report.sections.speed import speed
from studies.report.sections.survey import survey
from studies.report.sections.times import price, times
from studies.report.sections.verdicts import verdicts

#: What is read first, in two minutes.
FRONT = (power, speed, accuracy, survey, density, claims)

#: What stands behind every number.
GROUNDS = (provenance, self_tests, gaps)

#: The evidence in full, in the order of the front; long tables are folded.
BEHIND = (kills, contests, times, price, growth, verdicts, ratios, images)


def summary(frames: Frames) -> str:
    """What is read: at most 250 lines."""
    tables = ", ".join(csv_link(name) for name in sorted(csv_tables(frames)))
    parts = ["# emcheck report", headline(frames, judge(frames))]
    parts += [section(frames) for section in FRONT]
    parts += ["---", HOW_TO_READ, *(section(frames) for section in GROUNDS)]
    parts.append("The evidence in full, table by table: [details.md](details.md).")
    parts.append(f"## All tables\n\n{tables}")
    return "\n\n".join(parts) + "\n"


def details(frames: Frames) -> str:
    """What stands behind it: long tables, folded."""
    title = "# The long tables\n\nThe evidence behind [summary.md](summary.md)."
    return "\n\n".join([title, *(section(frames) for section in BEHIND)]) + "\n"
