"""What somebody else's exception says, in one line."""

from __future__ import annotations


def one_line(error: BaseException, most: int = 200) -> str:
    """The message of an exception without line breaks, its class where there is no message."""
    return " ".join(str(error).split())[:most] or type(error).__name__
