"""Measurements in; tidy frames, Markdown, CSV and figures out. It measures nothing itself."""

from emcheck.report.errors import ReportError as ReportError
from emcheck.report.write import default_inputs as default_inputs
from emcheck.report.write import write_report as write_report
