"""Where sweeps keep their cells unless told otherwise."""

from __future__ import annotations

from emcheck._internal.checkout import REPORTS

#: Of the sweeps whose learning rate stays as it is: plans ``reference`` and ``smoke``.
CONSTANT_RATE = REPORTS / "data" / "density"

#: Of the sweeps whose learning rate falls to zero: plans ``budget`` and ``family``.
DECAYING_RATE = REPORTS / "data" / "budget"

#: Where ``emcheck density reproduce`` keeps its outcome, in the folder of the sweep.
REPRODUCED = "reproduced.json"
