"""Masked convolutions and their inverses: one algorithm per file, one signature, one choice.

Layers call ``convolve_masked`` in ``forward.py`` and ``invert_masked`` in ``inverse.py`` for a
whole chain. ``solve_masked`` inverts one convolution; ``choose.py`` chooses its algorithm.
Periodic convolutions call ``solve_frequencies`` in ``frequencies.py``.
"""

from emcheck.solve.choose import SOLVERS as SOLVERS
from emcheck.solve.forward import convolve_masked as convolve_masked
from emcheck.solve.forward import live_weight as live_weight
from emcheck.solve.implicit import solve_masked as solve_masked
from emcheck.solve.inverse import invert_masked as invert_masked
from emcheck.solve.masks import Link as Link
from emcheck.solve.masks import Mask as Mask
from emcheck.solve.masks import diagonal as diagonal
from emcheck.solve.masks import live_taps as live_taps
from emcheck.solve.masks import validate_mask as validate_mask
