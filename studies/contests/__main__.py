"""``python -m studies.contests`` is ``emcheck compare``."""

import sys

from emcheck.__main__ import main

sys.argv[:1] = ["emcheck", "compare"]
main()
