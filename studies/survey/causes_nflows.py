"""Causes of FAILs on nflows."""

from __future__ import annotations

from studies.survey.cause import BY_DESIGN, EVERY, NARROW, ROUND_TRIP, Cause

CAUSES = (
    Cause(
        "nflows",
        ("Sigmoid temperature*",),
        ("logdet_matches_jacobian", "inverse_logdet_matches_jacobian"),
        "The log-det takes the logarithm of a temperature that training may make negative: NaN, "
        "although the map stays one to one.",
        "test_nflows_sigmoid_of_a_negative_temperature",
    ),
    Cause(
        "nflows",
        ("Sigmoid*",),
        ROUND_TRIP,
        "The inverse clips its argument to [1e-6, 1 - 1e-6] in every dtype: float64 data beyond "
        "13.8 do not come back.",
        "test_nflows_sigmoid_clips_at_a_millionth",
    ),
    Cause(
        "nflows",
        ("Tanh",),
        ("logdet_matches_jacobian",),
        "The log-det is log(1 - tanh^2): in float32 it is -inf from 9 on, where it is about -17.",
        "test_nflows_tanh_has_an_infinite_log_slope",
    ),
    Cause(
        "nflows",
        ("ActNorm",),
        ("first_batch_is_safe",),
        "It sets itself from its first batch with the deviation over n - 1: a first batch of one "
        "sample makes its parameters NaN for good.",
        "test_actnorm_from_one_sample_is_nan_for_good",
    ),
    Cause(
        "nflows",
        ("LULinear cached*",),
        ("inverse_undoes_forward", "forward_undoes_inverse"),
        "`weight_inverse` makes its identity matrix in float32: with using_cache=True in eval mode "
        "the inverse raises for a float64 layer.",
        "test_nflows_cached_inverse_of_float64",
    ),
    Cause(
        "nflows",
        ("LULinear cached*",),
        EVERY,
        "The cache of eval mode is kept until train() is called: a parameter that changes in eval "
        "mode, or gradients for it, do not show.",
        "test_nflows_cache_outlives_an_update",
        BY_DESIGN,
    ),
    Cause(
        "nflows",
        ("NaiveLinear",),
        ("inverse_undoes_forward",),
        "The inverse calls `torch.solve`, which torch has removed.",
        "test_nflows_naive_linear_has_no_inverse_left",
    ),
    Cause(
        "nflows",
        ("SqueezeTransform factor 3",),
        ("inverse_undoes_forward",),
        "The inverse wants channels divisible by 4 whatever the factor, and refuses the 9 that "
        "forward has made.",
        "test_nflows_squeeze_by_three",
    ),
    Cause(
        "nflows",
        ("BatchNorm training mode",),
        ("rows_are_independent",),
        "In training mode each batch is normalised by its own statistics.",
        "test_batch_statistics",
        BY_DESIGN,
    ),
    Cause(
        "nflows",
        ("LeakyReLU", "CompositeTransform"),
        NARROW,
        "The mask is cast to `torch.Tensor`, which is float32: so are the log-det of a leaky ReLU "
        "and the digits of a composition that holds one.",
        "test_nflows_leaky_relu_in_float32",
    ),
    Cause(
        "nflows",
        ("GatedLinearUnit",),
        EVERY,
        "The log-det has one entry for each feature and sample, `(B * D,)` for `(B, D)`: it is "
        "right for one feature only.",
        "test_nflows_gated_linear_unit",
    ),
    Cause(
        "nflows",
        ("PiecewiseLinear*", "MaskedPiecewiseLinear*"),
        (*ROUND_TRIP, "logdets_cancel", "inverse_logdet_matches_jacobian"),
        "The inverse makes the edges of its bins by `torch.linspace` in float32, forward computes "
        "them in the dtype of the input: round trips and slopes are off by 1e-8 to 1e-5.",
        "test_nflows_linear_splines_in_float32",
    ),
)
