"""``python -m emcheck`` is the command ``emcheck``."""

from emcheck.cli import main

main()
