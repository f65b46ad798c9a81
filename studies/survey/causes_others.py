"""Causes of FAILs on torch.distributions, zuko and the replica."""

from __future__ import annotations

from studies.survey.cause import BY_DESIGN, EVERY, Cause

CAUSES = (
    Cause(
        "torch.distributions",
        ("StackTransform last",),
        EVERY,
        "Stacked along its last dimension it says that this belongs to the event and does not sum "
        "its log-det over it: `log_prob` of a distribution with it raises.",
        "test_torch_stack_along_its_last_dimension_is_not_summed",
    ),
    Cause(
        "torch.distributions",
        ("AffineTransform event_dim*",),
        ("*logdet_matches_jacobian",),
        "A scale that is broadcast over event dimensions is summed at its own size: the log-det "
        "lacks the factor of the dimensions that it is broadcast over.",
        "test_torch_affine_scale_that_broadcasts",
    ),
    Cause(
        "torch.distributions",
        ("SoftplusTransform",),
        EVERY,
        "Softplus is linear from 20 on (the threshold of `torch.nn.functional.softplus`), its "
        "inverse and its log-det are not: in float64 they are off by 1e-9 there.",
        "test_torch_softplus_is_linear_from_twenty_on",
    ),
    Cause(
        "torch.distributions",
        ("StackTransform of vectors, dim -2",),
        EVERY,
        "The log-dets of vector transforms are stacked along dim -2 of their own shape: the "
        "samples end up in the wrong axis.",
        "test_torch_stack_of_vectors",
    ),
    Cause(
        "zuko",
        (*("*BernsteinTransform", "*GaussianizationTransform", "*SOSPolynomialTransform"),
         *("BPF", "GF", "SOSPF", "NAF", "UNAF")),
        ("nan_stays_in_its_sample",),
        "The bisection turns a NaN in the latent into an end of its interval: a comparison with "
        "NaN is false at every step.",
        "test_zuko_bisection_swallows_nan",
    ),
    Cause(
        "zuko",
        ("density of GF",),
        ("log_prob_integrates_to_one", "samples_follow_log_prob"),
        "No transform of a Gaussianization flow is onto: each multiplies a probability by 1 - 1e-6 "
        "before the quantile, so its latents end at 4.9, and the next transform maps these to less "
        "still. The density at random parameters integrates to 0.90.",
        "test_zuko_gaussianization_is_not_onto",
    ),
    Cause(
        "zuko",
        ("density of GF", "density of NAF"),
        ("samples_follow_log_prob",),
        "Samples are sought between -10 and 10 (`bound`), where at random parameters much of the "
        "density does not lie: what is beyond comes back as -10 or 10.",
        "test_zuko_samples_end_at_the_bound_of_the_bisection",
        BY_DESIGN,
    ),
    Cause(
        "zuko",
        ("density of UNAF",),
        ("gradient_of_log_prob", "log_prob_is_base_plus_logdet"),
        "The integral is a sum over 16 points, and the log-det is that of the integrand, not of "
        "the sum: they differ in the sixth digit.",
        "test_zuko_quadrature_says_the_integrand_is_its_slope",
        BY_DESIGN,
    ),
    Cause(
        "zuko",
        ("UNAF",),
        ("gradient_of_latent", "gradient_of_logdet"),
        "The integral is a sum over 16 points, and its gradient is said to be the integrand: on "
        "data 64 times as wide the two differ in the fifth digit.",
        "test_zuko_quadrature_says_the_integrand_is_its_slope",
        BY_DESIGN,
    ),
    Cause(
        "zuko",
        ("FFJTransform", "CNF"),
        ("rows_are_independent",),
        "The integrator takes one step size for the whole batch, as adaptive integrators do: a "
        "sample moves in other company, by about its tolerance.",
        "test_zuko_integrator_steps_for_the_batch",
        BY_DESIGN,
    ),
    Cause(
        "replica of the paper's code",
        ("1x1 and emerging in one layer",),
        EVERY,
        "Written to be wrong: forward leaves the log-det of the 1x1 out, the inverse subtracts it "
        "twice.",
        "test_replica_of_the_fused_layer",
    ),
    Cause(
        "replica of the paper's code",
        ("periodic, k = 5",),
        EVERY,
        "Written to be wrong: the kernel is moved by 1, which is right for k = 3 only; the inverse "
        "comes back one pixel off on either axis.",
        "test_replica_of_the_periodic_layer",
    ),
)  # fmt: skip
