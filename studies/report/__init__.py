"""Measurements in; tidy frames, Markdown, CSV and figures out. It measures nothing itself."""

from studies.pages.errors import ReportError as ReportError
from studies.report.write import default_inputs as default_inputs
from studies.report.write import write_report as write_report
