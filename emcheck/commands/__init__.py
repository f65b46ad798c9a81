"""Commands that are too long for ``cli.py``."""

#: Exit codes besides 0, all is well.
FAILED, COULD_NOT_RUN, INTERRUPTED = 1, 2, 130
