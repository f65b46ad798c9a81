"""The command line: ``main`` has the commands, ``check`` and ``show`` hold the long ones."""

#: Exit codes other than 0, which means that all is well.
FAILED, COULD_NOT_RUN, INTERRUPTED = 1, 2, 130
