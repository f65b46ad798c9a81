"""The density experiment as a page: finished cells in, density.md, tables and figures out."""

from studies.density.report.write import write_density as write_density
