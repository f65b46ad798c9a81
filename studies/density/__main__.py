"""``python -m studies.density`` is ``emcheck density``."""

import sys

from emcheck.__main__ import main

sys.argv[:1] = ["emcheck", "density"]
main()
