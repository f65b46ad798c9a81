"""``python -m studies.claims`` is ``emcheck claims``."""

import sys

from emcheck.__main__ import main

sys.argv[:1] = ["emcheck", "claims"]
main()
