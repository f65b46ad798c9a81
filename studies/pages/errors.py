"""The one error of this package."""

from __future__ import annotations


class ReportError(ValueError):
    """Input that cannot be reported; the message is one line that names the file."""
