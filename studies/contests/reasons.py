"""Why a bar is missed, counted."""

#: Where the time goes, counted, for the ratios that are hard to bring down.
WHY = {
    "inverse with log-det / forward, batch 32": (
        "Checking the input, packing the weights and starting the compiled call take 50 us in "
        "Python. The substitution has 4.1 million products at each of the three small sizes, 85 us "
        "at the rate of a large product of matrices, and takes 120; conv2d takes 225 to 310 us."
    ),
    "inverse with log-det / forward, batch 1": (
        "One sample has 16 rows to fill a vector with, behind a ramp of 15 columns: 47 steps for "
        "32 columns. At 12x32x32 the call takes 50 us before it starts and conv2d 60 in all. At "
        "12x128x128 a band is skewed into a buffer and back, three passes over 0.8 MB where conv2d "
        "has one."
    ),
    "tiled wavefront in torch / forward, batch 32": (
        "At 12x16x16 there are 15 steps of four operations on matrices of 48 x 32 to 48 x 256: 48 "
        "x 48 / 2 + 48 x 60 products for each tile of a sample, 8 million in all, of which the "
        "triangular solves take half of the time at 15 GFLOP/s. One thread needs 0.8 ms, of which "
        "0.3 ms is the fixed cost of sixty calls. A second thread finds nothing to share in "
        "operations of 10 to 30 us, while it halves the time of conv2d."
    ),
    "periodic: inverse / forward": (
        "Both take the spectrum and one LU per frequency. The forward then needs B H W C^2 k^2 "
        "products in space; the inverse two transforms and, for half of the frequencies, 4 B C^2 "
        "real products, a quarter as many at k = 3. At 12x16x16 the transforms take 0.37 ms, the "
        "LU 0.08 and the substitution 0.08; the convolution takes 0.36. At 48x4x4 there are 12 "
        "frequencies, less than a vector, so the LU takes 0.2 ms for any number of them."
    ),
    "periodic: slower way / conv2d": (
        "Beside the convolution itself, 0.36 ms at 12x16x16, the forward pads the image, takes the "
        "spectrum of its kernel and one LU for each frequency for the log-det, 0.3 ms in all; "
        "conv2d has no log-det. From 12x32x32 on what is left is the padding, a copy of the batch "
        "that costs a quarter of the convolution: conv2d adds its zeros while it reads."
    ),
    "1x1 dense: inverse / forward": (
        "At 12x16x16 either way has 1.2 million products. The inverse has an LU besides, the order "
        "of its rows and the packing of two triangles, 40 us that one thread does alone; a second "
        "thread shortens the forward."
    ),
    "1x1 QR forward / dense forward": (
        "Above 48 channels the compact form of the reflections costs 4 C^3 products, the LU of the "
        "dense layer a third of C^3; the product with the pixels, B H W C^2, is the same."
    ),
    "1x1 QR: inverse / forward": (
        "At 24x8x8 either direction is a dozen operations of torch, 100 us, around 1.2 million "
        "products, 25 us; the inverse has two of them more, a product with Q^T and a substitution "
        "where the forward multiplies by one matrix."
    ),
    "1x1 dense / normflows, slower way": (
        "At 192 channels the products count, B H W C^2 = 302 million in either library; theirs "
        "are one product of large matrices, ours a substitution in vector registers."
    ),
    "flow of width 64: training step, 1x1+emerging / 1x1": (
        "Eight pairs of convolutions add 16 forward and 32 backward passes of 2 million products "
        "each to a step, 2 ms at the rate of a product of matrices. They take 8, of which the "
        "compiled calls are 6: images of 8x8 and 4x4 with zeros around them are packed, forward "
        "and backward, for every pair."
    ),
    "flow of width 64: training step, PLU / normflows": (
        "The couplings are the same convolutions of torch in both flows, and seven tenths of a "
        "step."
    ),
    "flow of width 64: sampling, PLU / normflows": (
        "The couplings are the same convolutions of torch in both flows, and seven tenths of the "
        "time."
    ),
    "the paper's algorithm / inverse, batch 32": (
        "B H W C^2 k^2 products one after the other, each waiting for the last to be stored."
    ),
    "first call with an empty cache, in seconds": (
        "Numba's own analysis, in Python, takes 1.4 s of the 3 for one inverse even where nothing "
        "is optimised; LLVM takes the rest. `emcheck warm-up` pays for all kinds beforehand."
    ),
}
