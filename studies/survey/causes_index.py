"""Causes of FAILs on torchflows, flowtorch, glasflow and normflowpy."""

from __future__ import annotations

from studies.survey.cause import BY_DESIGN, EVERY, NARROW, Cause

CAUSES = (
    Cause(
        "torchflows",
        ("Radial",),
        ("logdet_matches_jacobian",),
        "Each entry is moved by a radius of its own, `|z_i - z0_i|`; the log-det adds the factor "
        "of `n - 1` other entries, which belongs to the norm of the whole.",
        "test_torchflows_radial_takes_entries_for_norms",
    ),
    Cause(
        "torchflows",
        ("Radial in one dimension",),
        ("logdet_matches_jacobian",),
        "1e-8 is added to `a + r` in the map and to `(a + r)^2` in its slope.",
        "test_torchflows_radial_adds_constants",
    ),
    Cause(
        "torchflows",
        ("DeepSigmoidalCoupling", "density of CouplingDeepSF"),
        EVERY,
        "The log-det sums the logarithms of the hidden units' terms, where it is the logarithm of "
        "their sum that counts.",
        "test_torchflows_sigmoids_add_logarithms_of_a_sum",
    ),
    Cause(
        "torchflows",
        ("DenseSigmoidalCoupling", "DeepDenseSigmoidalCoupling"),
        ("logdet_matches_jacobian",),
        "Close to the identity the log-det is -2000 and less where differences give 0.003.",
        "test_torchflows_sigmoid_couplings_against_differences",
    ),
    Cause(
        "torchflows",
        ("Radial*",),
        ("map_does_not_fold",),
        "Nothing holds `beta` above `-alpha`: the map folds below it, at initial values too.",
        "test_torchflows_radial_folds",
    ),
    Cause(
        "torchflows",
        ("ElementwiseShift", "ShiftCoupling", "HouseholderProductMatrix", "*PermutationMatrix"),
        NARROW,
        "The log-det is made by `torch.zeros` without a dtype: float32 for float64 input.",
        "test_torchflows_logdets_in_float32",
    ),
    Cause(
        "torchflows",
        ("LUMatrix",),
        EVERY,
        "The triangular matrices are made in float32: a layer in float64 raises.",
        "test_torchflows_lu_matrix_refuses_float64",
    ),
    Cause(
        "torchflows",
        ("RQSCoupling", "RQSForwardMaskedAutoregressive"),
        ("forward_undoes_inverse", "rows_are_independent"),
        "Not a mistake: knots lie in [-50, 50], and what is computed from them is rounded as 50 "
        "is, to 7e-15; data near 0 are held to less.",
        "test_torchflows_splines_compute_at_fifty",
        BY_DESIGN,
    ),
    Cause(
        "torchflows",
        ("RQSForwardMaskedAutoregressive",),
        ("inverse_logdet_matches_jacobian", "logdets_cancel"),
        "The log-det of the inverse is that of its last pass, which inverts entries that are "
        "inverted already: it is taken at another point. Scales that do not depend on the point "
        "hide it.",
        "test_torchflows_masked_inverse_takes_the_logdet_elsewhere",
    ),
    Cause(
        "torchflows",
        ("Invertible1x1ConvolutionalCoupling",),
        ("*logdet_matches_jacobian",),
        "The log-det is that of one pixel: it lacks the factor H W.",
        "test_torchflows_one_by_one_is_that_of_one_pixel",
    ),
    Cause(
        "torchflows",
        ("CheckerboardCoupling", "ChannelWiseCoupling", "Invertible1x1ConvolutionalCoupling"),
        ("rows_are_independent",),
        "The network that conditions the coupling has batch normalisation: in training mode a "
        "sample depends on the others.",
        "test_torchflows_convolutions_normalise_batches",
        BY_DESIGN,
    ),
    Cause(
        "torchflows",
        ("ActNorm", "RealNVP"),
        ("state_dict_restores",),
        "That it has set itself from a first batch is an attribute and not part of the state_dict: "
        "a restored layer sets itself again.",
        "test_torchflows_actnorm_starts_again_when_it_is_loaded",
    ),
    Cause(
        "torchflows",
        ("LRSCoupling",),
        EVERY,
        "5e-10 is added to a squared denominator, in the log-det alone.",
        "test_torchflows_rational_splines_add_a_constant",
    ),
    Cause(
        "flowtorch",
        ("ELU", "Softplus"),
        EVERY,
        "As in Pyro: the inverse of ELU adds 1e-8 to the argument of its logarithm; softplus is "
        "linear from 20 on, its inverse and its log-det are not.",
        "test_flowtorch_elu_and_softplus",
    ),
    Cause(
        "flowtorch",
        ("Invert of Affine",),
        ("*logdet_matches_jacobian",),
        "`Invert` returns the log-det of the bijector that it inverts, with the same sign.",
        "test_flowtorch_inverted_has_the_sign_of_the_other",
    ),
    Cause(
        "flowtorch",
        ("Permute",),
        EVERY,
        "The permutation is drawn in the first call and kept in an attribute: a restored layer, "
        "or a copy from before the first call, draws another.",
        "test_flowtorch_permutation_is_drawn_in_the_first_call",
    ),
    Cause(
        "flowtorch",
        ("*Affine*", "Compose", "density of AffineAutoregressive"),
        ("gradient_of_*",),
        "The log-scale is clipped to [-5, 3] by `clamp_preserve_gradients`, which passes the "
        "gradient on as if nothing were clipped.",
        "test_flowtorch_clips_without_the_gradient",
        BY_DESIGN,
    ),
    Cause(
        "glasflow",
        ("RealNVP svd",),
        EVERY,
        "Ten reflections are made whatever the number of features; with fewer features some of "
        "their vectors are 0, and everything is NaN from the beginning.",
        "test_glasflow_more_reflections_than_features_are_nan",
    ),
    Cause(
        "glasflow",
        ("RealNVP batch norm in evaluation mode",),
        EVERY,
        "In training mode each batch is normalised by its own statistics, and there is no inverse.",
        "test_batch_norm_of_each_batch",
        BY_DESIGN,
    ),
    Cause(
        "normflowpy",
        ("UserDefinedAffineFlow",),
        ("*logdet_matches_jacobian",),
        "The log-det takes the logarithm of a scale that is a parameter and may become negative: "
        "NaN, although the map stays one to one.",
        "test_normflowpy_logarithm_of_a_negative_scale",
    ),
    Cause(
        "normflowpy",
        ("ActNorm",),
        ("first_batch_is_safe",),
        "It sets itself from its first batch with the variance over n - 1: a first batch of one "
        "sample makes its parameters NaN for good.",
        "test_normflowpy_actnorm_from_one_sample",
    ),
    Cause(
        "normflowpy",
        ("AffineCoupling shift alone", "MAF*", "NSF_*", "NormalizingFlow"),
        NARROW,
        "The log-det is made by `torch.zeros` without a dtype: float32 for float64 input, and "
        "float64 log-dets are added up in float32.",
        "test_normflowpy_logdets_in_float32",
    ),
    Cause(
        "normflowpy",
        ("BatchNorm evaluation mode",),
        EVERY,
        "In training mode each batch is normalised by its own statistics.",
        "test_batch_norm_of_each_batch",
        BY_DESIGN,
    ),
)
