"""The Markdown pages of a report as one HTML file that needs nothing else."""

from studies.report.html.write import target_of as target_of
from studies.report.html.write import write_html as write_html
