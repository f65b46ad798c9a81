"""What an input of the campaign is, and how its end is judged."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Input:
    """Something that a user can do.

    Args:
        kind: a group of the campaign.
        name: what is done.
        run: does it in a folder of its own; what it returns, or the message of the
            ``ValueError`` that it raises, is the line that the user sees.
        told: a regular expression for that line.
    """

    kind: str
    name: str
    run: Callable[[Path], object]
    told: str

    def trouble(self, folder: Path) -> str:
        """Why the end is bad, empty if it is good: one line that says what it must say."""
        try:
            line = str(self.run(folder))
        except ValueError as error:
            line = str(error)
        except BaseException:  # anything else is a traceback for a user
            return traceback.format_exc(limit=-3)
        if len(line.splitlines()) > 1:
            return f"more than one line: {line!r}"
        if not re.search(self.told, line):
            return f"expected a line with {self.told!r}, got {line!r}"
        return ""
