"""Causes of FAILs on FrEIA."""

from __future__ import annotations

from studies.survey.cause import BY_DESIGN, EVERY, Cause

_BLOCK = "AllInOneBlock"

CAUSES = (
    Cause(
        "FrEIA",
        ("ActNorm",),
        ("first_batch_is_safe",),
        "It sets itself from its first batch with the deviation over n - 1: a first batch of one "
        "sample makes its parameters NaN for good.",
        "test_actnorm_from_one_sample_is_nan_for_good",
    ),
    Cause(
        "FrEIA",
        (f"{_BLOCK} gin_block*",),
        ("no_dead_parameter",),
        "With gin_block=True the parameter `global_scale` is not used.",
        "test_freia_unused_parameters",
    ),
    Cause(
        "FrEIA",
        ("HouseholderPerm fixed",),
        ("no_dead_parameter",),
        "With fixed=True `Vs` still asks for gradients and is not used.",
        "test_freia_unused_parameters",
    ),
    Cause(
        "FrEIA",
        (f"{_BLOCK} permute_soft", f"{_BLOCK} gin_block image", "HouseholderPerm fixed"),
        ("gradient_of_inverse",),
        "The rotation is drawn once and rounded to float32: its transpose is its inverse to 1e-7, "
        "and the check computes in float64.",
        "test_freia_fixed_rotations_are_rounded",
        BY_DESIGN,
    ),
    Cause(
        "FrEIA",
        ("OrthogonalTransform",),
        ("gradient_of_inverse",),
        "The inverse is the transpose, which is one for orthogonal matrices only: gradients for "
        "the matrix are those of the transpose.",
        "test_freia_orthogonal_transform_is_free_between_projections",
        BY_DESIGN,
    ),
    Cause(
        "FrEIA",
        ("LearnedElementwiseScaling",),
        EVERY,
        "The log-det has shape `(1,)` whatever the batch, and the same sign in both directions.",
        "test_freia_learned_scaling",
    ),
    Cause(
        "FrEIA",
        ("InvertibleSigmoid image",),
        EVERY,
        "For an image the log-det is summed over the channels only, `(B, H, W)`.",
        "test_freia_sigmoid_of_images",
    ),
    Cause(
        "FrEIA",
        ("HaarDownsampling rebalance*", "HaarUpsampling rebalance*"),
        EVERY,
        "The direction that rebuilds the image multiplies its input in place; only with "
        "order_by_wavelet=True is it a copy.",
        "test_freia_haar_in_place",
    ),
)
