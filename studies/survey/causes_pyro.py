"""Causes of FAILs on Pyro."""

from __future__ import annotations

from studies.survey.cause import BY_DESIGN, EVERY, Cause

_CLIPPED = ("*AffineCoupling*", "*AffineAutoregressive*", "ComposeTransformModule",
            "ConditionalComposeTransformModule", "density of affine_coupling")  # fmt: skip

CAUSES = (
    Cause(
        "pyro",
        ("Sylvester*",),
        ("logdet_matches_jacobian",),
        "The map is `x + tanh(x S Q' + b) Q R`, the log-det that of triangular `S R`: in the order "
        "in which they are multiplied, `Q R S Q'` is not triangular.",
        "test_pyro_sylvester_is_not_triangular",
    ),
    Cause(
        "pyro",
        ("ELUTransform",),
        EVERY,
        "The inverse adds 1e-8 to the argument of its logarithm: float64 data do not come back.",
        "test_pyro_elu_inverse_adds_a_constant",
    ),
    Cause(
        "pyro",
        ("SoftplusTransform",),
        EVERY,
        "Softplus is linear from 20 on (the threshold of `torch.nn.functional.softplus`), its "
        "inverse and its log-det are not: in float64 they are off by 1e-9 there.",
        "test_pyro_softplus_is_linear_from_twenty_on",
    ),
    Cause(
        "pyro",
        ("DiscreteCosineTransform smooth",),
        ("nothing_goes_stale",),
        "The weights of the first call are kept for every later one of the same size: after a "
        "call in float32, float64 data are multiplied by weights of float32.",
        "test_pyro_cosine_weights_keep_their_first_dtype",
    ),
    Cause(
        "pyro",
        ("BatchNorm*",),
        EVERY,
        "In training mode the inverse takes the statistics of its batch, and forward those that "
        "run along, which every inverse moves.",
        "test_pyro_batchnorm_of_each_batch",
        BY_DESIGN,
    ),
    Cause(
        "pyro",
        _CLIPPED,
        ("gradient_of_*",),
        "The log-scale is clipped to [-5, 3] by `clamp_preserve_gradients`, which passes the "
        "gradient on as if nothing were clipped: on wide data it is not that of the function.",
        "test_pyro_clips_without_the_gradient",
        BY_DESIGN,
    ),
    Cause(
        "pyro",
        ("AffineAutoregressive*",),
        EVERY,
        "The inverse begins with zeros of torch's default dtype: a layer in float64 raises.",
        "test_pyro_autoregressive_inverse_is_float32",
    ),
    Cause(
        "pyro",
        ("NeuralAutoregressive sigmoid", "NeuralAutoregressive tanh", "NeuralAutoregressive ELU"),
        ("gradient_of_*",),
        "Wide data come so close to the end of the activation that its inverse has lost the digits "
        "that it needs, in float32 first; torch clips the inverse of a sigmoid there.",
        "test_pyro_neural_autoregressive_saturates",
    ),
    Cause(
        "pyro",
        ("*NeuralAutoregressive*",),
        ("logdet_matches_jacobian",),
        "1e-8 is added to a slope in its logarithm, so that float64 is off in the eighth digit; "
        "wide data, in float32 first, come so close to the end of a bounded activation that its "
        "inverse has lost the digits that it needs.",
        "test_pyro_neural_autoregressive_adds_a_constant",
    ),
    Cause(
        "pyro",
        ("BlockAutoregressive*",),
        ("logdet_matches_jacobian",),
        "A norm is `sqrt(s) + 1e-8` in the weights and `sqrt(s + 1e-8)` in their logarithms, of "
        "which the log-det is made.",
        "test_pyro_block_autoregressive_has_two_constants",
    ),
    Cause(
        "pyro",
        ("Polynomial",),
        ("logdet_matches_jacobian",),
        "The log-det is `log(slope + 1e-8)`, and the constants of the integral, 1/3 and so on, are "
        "made in float32.",
        "test_pyro_polynomial_adds_a_constant",
    ),
)
