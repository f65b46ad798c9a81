"""The command line: ``main`` has the commands, ``check`` and ``show`` what is long of them."""

#: Exit codes besides 0, all is well.
FAILED, COULD_NOT_RUN, INTERRUPTED = 1, 2, 130
