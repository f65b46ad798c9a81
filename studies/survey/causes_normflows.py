"""Causes of FAILs on normflows."""

from __future__ import annotations

from studies.survey.cause import BY_DESIGN, EVERY, NARROW, ROUND_TRIP, Cause

CAUSES = (
    Cause(
        "normflows",
        ("ActNorm",),
        ("first_batch_is_safe",),
        "It sets itself from its first batch with the deviation over n - 1: a first batch of one "
        "sample makes its parameters NaN for good.",
        "test_actnorm_from_one_sample_is_nan_for_good",
    ),
    Cause(
        "normflows",
        ("Permute *", "Composite", "NormalizingFlow"),
        NARROW,
        "The log-det is made by `torch.zeros` without a dtype: float32 for float64 input, and a "
        "composition adds float64 log-dets of its parts up in float32.",
        "test_normflows_logdet_in_float32",
    ),
    Cause(
        "normflows",
        ("Planar leaky_relu",),
        (*NARROW, *ROUND_TRIP),
        "The slope of the leaky ReLU is made from a Boolean mask and a Python number, which is "
        "float32: log-det and inverse keep float32 digits for float64 input.",
        "test_normflows_planar_in_float32",
    ),
    Cause(
        "normflows",
        ("Circular*",),
        ("nan_stays_in_its_sample",),
        "A NaN in the data comes back as 0: an entry that is not inside the interval keeps the 0 "
        "that the output begins with, and NaN is never inside.",
        "test_normflows_circular_splines_swallow_nan",
    ),
    Cause(
        "normflows",
        ("Circular*",),
        ("logdet_matches_jacobian", "inverse_logdet_matches_jacobian"),
        "Every entry outside the interval becomes 0 with a log-det of 0, for coordinates with "
        "linear tails too: the map is not invertible there.",
        "test_normflows_circular_splines_collapse",
    ),
    Cause(
        "normflows",
        ("Shift",),
        EVERY,
        "Both directions change their input in place.",
        "test_normflows_shift_in_place",
    ),
    Cause(
        "normflows",
        ("BatchNorm",),
        ("rows_are_independent",),
        "Each batch is normalised by its own statistics: what becomes of a sample depends on the "
        "others.",
        "test_batch_statistics",
        BY_DESIGN,
    ),
    Cause(
        "normflows",
        ("Residual *",),
        ("calls_are_pure",),
        "A call runs power iterations and stores the new scale of the weights in buffers.",
        "test_normflows_residual_changes_its_buffers",
    ),
    Cause(
        "normflows",
        ("Residual *",),
        ("no_dead_parameter",),
        "`geom_p` and `lamb` are parameters that nothing uses with brute_force=True.",
        "test_normflows_residual_unused_parameters",
    ),
    Cause(
        "normflows",
        ("Residual *",),
        ("gradient_of_*",),
        "The direction that iterates returns the gradient of an iteration that stopped at 1e-5.",
        "test_normflows_residual_gradient_of_an_iteration",
        BY_DESIGN,
    ),
    Cause(
        "normflows",
        ("Residual *",),
        EVERY,
        "The fixed-point iteration stops when all samples of the batch have converged to 1e-5: a "
        "sample ends elsewhere in other company, by less than that tolerance.",
        "test_normflows_residual_stops_for_the_batch",
        BY_DESIGN,
    ),
)
