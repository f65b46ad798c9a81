"""``python -m emcheck.doctor`` prints the table of self-tests; exit code 0 iff all are ok."""

from __future__ import annotations

import argparse
import sys

from emcheck._internal.progress import Output
from emcheck.doctor.run import diagnose
from emcheck.doctor.self_tests import NAMES
from emcheck.doctor.show import render


def main() -> int:
    """Parse the command line, run the self-tests, print the table."""
    parser = argparse.ArgumentParser(prog="python -m emcheck.doctor", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"self-tests to run, of {', '.join(NAMES)}")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for each self-test")
    arguments = parser.parse_args()
    try:
        canaries = diagnose(arguments.timeout, arguments.names or None)
    except ValueError as error:
        parser.error(str(error))
    Output().print(render(canaries))
    return 0 if all(canary.ok for canary in canaries) else 1


if __name__ == "__main__":
    sys.exit(main())
