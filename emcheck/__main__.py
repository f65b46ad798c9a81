"""The command ``emcheck``, also as ``python -m emcheck``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; Ctrl-C while it is still loading ends it with exit status 130."""
    try:
        from emcheck.cli.main import main as run
    except KeyboardInterrupt:
        print("emcheck: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
