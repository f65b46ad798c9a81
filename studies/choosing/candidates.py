"""The mixings that one may take, and what is true of each by its mathematics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emcheck.flows.mixing import MIXINGS


@dataclass(frozen=True)
class Candidate:
    """What cannot be measured about a mixing.

    Args:
        logdet: the cost of the log-determinant, C channels and H W pixels.
        inverse: how the inverse is computed.
        take: when to take it, in plain words.
    """

    logdet: str
    inverse: str
    take: str


CANDIDATES: Mapping[str, Candidate] = {
    "1x1": Candidate(
        "C^3 / 3, one LU",
        "one LU, two substitutions in every pixel",
        "Take it when in doubt: nothing is simpler, and it reaches every invertible matrix over "
        "the channels. It mixes no pixels, so the couplings have to.",
    ),
    "plu": Candidate(
        "C",
        "two substitutions in every pixel",
        "Take it when the log-determinant must be cheap for many channels. The signs of its "
        "diagonal are fixed at the start, so it stays in one of 2^C cells of matrices.",
    ),
    "qr": Candidate(
        "C",
        "a product with Q transposed and a substitution in every pixel",
        "Take it when the log-determinant must be cheap and every rotation should be within "
        "reach, for a product of C reflections in each call.",
    ),
    "1x1+emerging": Candidate(
        "C",
        "a substitution along rows, forth and back",
        "Take it when neighbours on every side should mix at a small price: its log-determinant is "
        "a sum over the diagonal, and its inverse is exact. Watch its condition: neighbours enter "
        "it, although they do not enter the log-determinant.",
    ),
    "emerging": Candidate(
        "C",
        "a substitution along rows, forth and back",
        "Take it in place of the 1x1 when parameters are scarce. Matrices over the channels that "
        "have no LU factorisation, such as the exchange of two channels, are out of its reach.",
    ),
    "1x1+raster": Candidate(
        "C",
        "a substitution along rows, forth and back",
        "Take it when the emerging pair should see two pixels to either side: 13 pixels in three "
        "rows, without two corners, instead of 9 in a square, for a quarter more products.",
    ),
    "periodic": Candidate(
        "H W C^3 / 3, one LU for each frequency",
        "two transforms, a system for each frequency",
        "Take it when images wrap around, as on a torus. Elsewhere opposite borders see each "
        "other, its log-determinant grows with the image, and a frequency may become singular.",
    ),
    "1x1+exponential": Candidate(
        "C, the trace",
        "the same series with the other sign",
        "Take it when the inverse must cost what the forward costs on any device: either is a "
        "series of ordinary convolutions, a dozen and more. Large weights need more.",
    ),
    "1x1+orthogonal": Candidate(
        "none, it is 0",
        "two transforms, a product for each frequency",
        "Take it when conditioning comes first: its condition is 1 whatever it learns. It keeps "
        "volumes, so all scaling is left to the other layers, and it wraps around.",
    ),
    "1x1+corner": Candidate(
        "C",
        "a substitution from one corner, four groups of channels side by side",
        "Take it when few parameters should see all quadrants: each of four groups of channels is "
        "convolved from a corner of its own, and sees none of the other groups.",
    ),
    "woodbury": Candidate(
        "d^3 for a rank of d",
        "products with thin matrices and a small LU",
        "Take it when the whole image should mix and its size never changes: a low rank reaches "
        "every pixel at once. Its parameters belong to one height and width.",
    ),
    "1x1+macow": Candidate(
        "C H W, the scales",
        "row after row, and column after column",
        "Take it when a linear map is not enough and sampling may wait: it is an autoregressive "
        "flow over rows and columns with a small network, and its inverse follows them.",
    ),
}

#: The mixings of the table that this version has.
CHOSEN = tuple(name for name in CANDIDATES if name in MIXINGS)
