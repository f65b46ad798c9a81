"""``python -m studies.survey`` is ``emcheck survey``."""

import sys

from emcheck.__main__ import main

sys.argv[:1] = ["emcheck", "survey"]
main()
