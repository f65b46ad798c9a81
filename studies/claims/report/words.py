"""What the page says of each claim besides its numbers: titles, explanations, captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from studies.claims.report import curves, maps
from studies.claims.report.load import Told
from studies.density.report.figures import CAPTION_LINES, differences_figure


@dataclass(frozen=True)
class Picture:
    """A figure: the end of its file's name, how it is drawn, and what to see in it."""

    name: str
    draw: Callable[[Told], Figure | None]
    caption: str


@dataclass(frozen=True)
class Words:
    """Title, an explanation for someone who knows flows but not the paper, pictures."""

    title: str
    text: str
    pictures: Sequence[Picture]


WORDS: Mapping[str, Words] = {
    "matrix-product": Words(
        "Is a convolution a matrix product?",
        "An image is a vector, and a convolution is linear, so it has a matrix: one row for each "
        "output number, one column for each input number. That matrix was written down from the "
        "index formula alone, and compared with what the layer does to every basis image (a "
        "single 1, zeros elsewhere). If the mask forbids looking at later pixels, the matrix is "
        "triangular, and its determinant is the product of its diagonal. No large determinant "
        "has to be computed. This is the whole idea of the paper.",
        [Picture("patterns", maps.patterns,
                 "Nonzero entries of five convolutions on a 4x4 image with two channels. Rows and "
                 "columns run pixel by pixel, the two channels inside. See that the 1x1 has "
                 "blocks on the diagonal only, that square and raster masks leave everything above "
                 "the diagonal empty, also within a pixel's block, that the emerging pair fills "
                 "both sides like an ordinary 3x3 convolution, and that the periodic one also "
                 "joins opposite borders.")],
    ),
    "whole-feature-map": Words(
        "What range does the Fourier transform cover?",
        "A convolution that wraps around the border is diagonal in frequency: each of the H W "
        "frequencies has its own small matrix W^, and the log-det is the sum of theirs. The "
        "receptive field does not limit the transform; it only says that W^ is made of few "
        "coefficients. The inverse of W^ is not: the inverse of a periodic convolution looks at "
        "the whole image. Which frequencies exist depends on the size of the image, and so does "
        "whether a kernel can be inverted.",
        [Picture("supports", maps.supports,
                 "Left and middle: the size of the taps of a 3x3 periodic convolution and of its "
                 "inverse by offset, on an 8x8 image (larger squares for larger taps, over six "
                 "decades). See 9 squares against 64. Right: the smallest singular value over all "
                 "frequencies against image size. See that the box filter is singular at every "
                 "multiple of 3 (crosses, where no value is drawn), and the kernel with a strong "
                 "centre nowhere.")],
    ),
    "better-than-1x1": Words(
        "Is a d x d convolution better than a 1x1?",
        "Flows that differ in nothing but the mixing layer were trained on the same patches in "
        "the same order, from the same initial function. A larger kernel has more parameters and "
        "takes more time, so the 1x1 got two more chances: wider couplings with at least as many "
        "parameters, and as many more steps as the time allows. Depth 1 got ten seeds after five "
        "had left one comparison open (photographs, matched time). These are narrow flows after "
        "short trainings: the paper's own tables show the gain shrink for deep, wide and long "
        "trained flows, down to nothing on full ImageNet32. [density.md](density.md) holds the "
        "experiment.",
        [Picture("differences", lambda told: differences_figure(told.tables["differences"]),
                 "Test bits per dimension of the emerging flow minus those of a control: mean over "
                 "seeds (mark), bootstrap interval (thick), Student's t interval (thin). See which "
                 f"intervals lie left of 0. Controls: {CAPTION_LINES}.")],
    ),
    "plu-qr": Words(
        "Is PLU less flexible than QR?",
        "Glow writes the 1x1 matrix as P L (U + diag(s)) and learns all but the permutation P and "
        "the signs of s. Both that and QR have C^2 free numbers, so neither has fewer dimensions. "
        "But the signs of the leading minors of P^T W are the signs of s, and those cannot change: "
        "2^C cells, of which one is reachable. QR has free signs and reaches every matrix with "
        "its determinant's sign. Outside of its cell PLU can only go to the border, where L "
        "becomes ill-conditioned.",
        [Picture("cells", curves.cells,
                 "Left: the share of Gaussian matrices that a parametrisation reaches, with 95% "
                 "intervals. See PLU fall on 1/2^C, QR stay at one half. Middle: fits of a turn "
                 "by 135 degrees, from the identity. See QR and dense arrive (their curves "
                 "leave the panel at 1e-8), PLU stop. Right: condition numbers of PLU along the "
                 "way. See L and U grow together, while W stays harmless.")],
    ),
    "almost-3x3": Words(
        "Do two autoregressive convolutions make a 3x3?",
        "A square-masked convolution and a reversed one see together exactly the pixels of one "
        "k x k convolution. Three things are missing to be one. At the first rows and columns "
        "the zeros of the padding come in between. Not every kernel is a product of two: 2 of 9 "
        "dimensions are lost (8 of 25 for 5x5). And a 1x1 in front adds nothing, because an LU "
        "factorisation moves it into the pair.",
        [Picture("borders", maps.borders,
                 "Pixels of a 10x10 image where the pair differs from the one convolution with the "
                 "composed kernel (dark). See the first r = 1, 2 and 3 rows and columns, and "
                 "nothing else."),
         Picture("fields", maps.fields,
                 "Pixels (dark) that a pair of masks sees around the one with the circle, k = 3; "
                 "the number counts them. See that a square mask with its reversed one gives "
                 "exactly 3x3, and a raster pair 13 pixels with corners missing.")],
    ),
    "replace-1x1": Words(
        "Can a d x d convolution replace the 1x1?",
        "A 1x1 mixes channels at a pixel. The centre taps of an emerging pair are an upper and a "
        "lower triangular matrix, so the pair holds every matrix that is a product L U. That is "
        "nearly every matrix, but not, for example, the exchange of two channels, which has a zero "
        "where the first pivot should be. Close to it the factors are large and nearly cancel. A "
        "periodic convolution has a full matrix as its centre and holds every 1x1.",
        [Picture("swap", curves.swap,
                 "Matrices that approach the exchange of two channels: the distance falls to "
                 "the right. See the "
                 "condition number of the convolutions grow as one over the distance while the 1x1 "
                 "itself stays perfectly conditioned, and the round trip in float32 lose as many "
                 "digits.")],
    ),
    "conditioning": Words(
        "Is a layer with a harmless log-det safe to invert?",
        "The log-det of a masked convolution is that of its diagonal. The taps beside the centre "
        "do not enter, but they decide how errors grow from pixel to pixel when the layer is "
        "inverted. A unit diagonal gives log-det 0 whatever the neighbours are. The test "
        "rho = sum_a ||W0^-1 W_a|| < 1 over the taps beside the centre bounds the condition "
        "number by cond(W0) (1 + rho) / (1 - rho) at every image size. It is sufficient, not "
        "necessary: neighbours of +0.5 fail it too, and are harmless.",
        [Picture("conditions", curves.conditions,
                 "Left: condition number against image size; both kernels with unit centre have "
                 "log-det 0 at every size. See -0.5 grow, +0.5 stay, and weights as in a published "
                 "complaint (centre 0.0462, neighbours near 0.8) leave the range of float64. "
                 "Middle: what float32 makes of it. Right: random layers that pass the test, by "
                 "their rho = sum_a ||W0^-1 W_a|| over the taps beside the centre. See "
                 "that none exceeds the bound (line).")],
    ),
}  # fmt: skip
