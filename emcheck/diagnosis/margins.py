"""Margins of the diagnosis, kept in one place until they move to :mod:`emcheck.bounds`."""

from __future__ import annotations

#: A log-det and what is predicted for it err by one bound each.
BOTH_SIDES = 2.0

#: An offset solved from one sample carries that sample's error; two of them on each side.
SOLVED = 4.0

#: Roundings in a deviation over a batch, in units of ``eps`` times the number of entries.
DEVIATION = 64.0

#: A round trip that is off by more than this relative to x is wrong, not approximate.
APPROXIMATE = 2.0**-4

#: Two approximate inverses err alike if neither error is this many times the other.
ALIKE = 2.0
