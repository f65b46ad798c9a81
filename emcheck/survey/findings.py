"""What the FAILs of the survey come from, and which test confirms each without the kit."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

CONFIRMED = "confirmed"
BY_DESIGN = "by design"

_EVERY = ("*",)
_BLOCK = "AllInOneBlock"


@dataclass(frozen=True)
class Cause:
    """One cause of FAILs.

    Args:
        library: one of :data:`emcheck.survey.SURVEYED`.
        layers: names of entries, with ``*`` for any text.
        checks: the checks that it makes fail, ``*`` for any.
        text: what is so, in one or two sentences.
        test: the function in ``properties/test_survey_findings.py`` that shows it without emcheck.
        kind: ``CONFIRMED``, or ``BY_DESIGN`` for what the library documents.
    """

    library: str
    layers: tuple[str, ...]
    checks: tuple[str, ...]
    text: str
    test: str
    kind: str = CONFIRMED

    def covers(self, library: str, layer: str, check: str) -> bool:
        """Whether a FAIL of this check on this layer comes from here."""
        return (
            library == self.library
            and any(fnmatchcase(layer, name) for name in self.layers)
            and any(fnmatchcase(check, name) for name in self.checks)
        )


_NARROW = (
    "shapes_and_dtypes",
    "logdet_matches_jacobian",
    "inverse_logdet_matches_jacobian",
    "logdets_cancel",
    "gradient_of_logdet",
    "gradient_of_inverse_logdet",
)

_ROUND_TRIP = ("inverse_undoes_forward", "forward_undoes_inverse", "gradient_of_inverse")

_NORMFLOWS = (
    Cause(
        "normflows",
        ("Permute *", "Composite", "NormalizingFlow"),
        _NARROW,
        "The log-det is made by `torch.zeros` without a dtype: float32 for float64 input, and a "
        "composition adds float64 log-dets of its parts up in float32.",
        "test_normflows_logdet_in_float32",
    ),
    Cause(
        "normflows",
        ("Planar leaky_relu",),
        (*_NARROW, *_ROUND_TRIP),
        "The slope of the leaky ReLU is made from a Boolean mask and a Python number, which is "
        "float32: log-det and inverse keep float32 digits for float64 input.",
        "test_normflows_planar_in_float32",
    ),
    Cause(
        "normflows",
        ("Circular*",),
        ("nan_stays_in_its_sample",),
        "A NaN in the data comes back as a number: entries outside the interval, and NaN is "
        "neither inside nor outside, keep the zeros that the output begins with.",
        "test_normflows_circular_splines_swallow_nan",
    ),
    Cause(
        "normflows",
        ("Shift",),
        _EVERY,
        "Both directions change their input in place.",
        "test_normflows_shift_in_place",
    ),
    Cause(
        "normflows",
        ("BatchNorm",),
        ("rows_are_independent",),
        "Each batch is normalised by its own statistics, as documented: what becomes of a sample "
        "depends on the others, and the log-det is that of fixed statistics.",
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
        _EVERY,
        "The fixed-point iteration stops when all samples of the batch have converged to 1e-5: a "
        "sample ends elsewhere in other company, by less than that tolerance.",
        "test_normflows_residual_stops_for_the_batch",
        BY_DESIGN,
    ),
)

_NFLOWS = (
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
        _EVERY,
        "The cache of eval mode is kept when a parameter changes, until train() is called, as "
        "documented.",
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
        "In training mode each batch is normalised by its own statistics, as documented.",
        "test_batch_statistics",
        BY_DESIGN,
    ),
    Cause(
        "nflows",
        ("LeakyReLU", "CompositeTransform"),
        _NARROW,
        "The mask is cast to `torch.Tensor`, which is float32: so are the log-det of a leaky ReLU "
        "and the digits of a composition that holds one.",
        "test_nflows_leaky_relu_in_float32",
    ),
    Cause(
        "nflows",
        ("GatedLinearUnit",),
        _EVERY,
        "The log-det has one entry for each feature and sample, `(B * D,)` for `(B, D)`: it is "
        "right for one feature only.",
        "test_nflows_gated_linear_unit",
    ),
    Cause(
        "nflows",
        ("PiecewiseLinear*", "MaskedPiecewiseLinear*"),
        (*_ROUND_TRIP, "logdets_cancel"),
        "The inverse makes the edges of its bins by `torch.linspace` in float32, forward computes "
        "them in the dtype of the input: a float64 round trip is off by 1e-8 to 1e-7.",
        "test_nflows_linear_splines_in_float32",
    ),
)

_FREIA = (
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
        ("LearnedElementwiseScaling",),
        _EVERY,
        "The log-det has shape `(1,)` whatever the batch, and the same sign in both directions.",
        "test_freia_learned_scaling",
    ),
    Cause(
        "FrEIA",
        ("InvertibleSigmoid image",),
        _EVERY,
        "For an image the log-det is summed over the channels only, `(B, H, W)`.",
        "test_freia_sigmoid_of_images",
    ),
    Cause(
        "FrEIA",
        ("HaarDownsampling rebalance*", "HaarUpsampling rebalance*"),
        _EVERY,
        "The direction that rebuilds the image multiplies its input in place; only with "
        "order_by_wavelet=True is it a copy.",
        "test_freia_haar_in_place",
    ),
    Cause(
        "FrEIA",
        ("Flatten", "SequenceINN"),
        ("memory_layouts_agree",),
        "`Flatten` uses `.view`, which raises for an input that is not contiguous, such as "
        "channels_last.",
        "test_freia_flatten_needs_contiguous_input",
    ),
)

_OTHERS = (
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
        ("AffineTransform numbers event_dim 2",),
        ("memory_layouts_agree",),
        "The log-det with a number as scale uses `.view` and raises for a transposed input.",
        "test_torch_affine_needs_contiguous_input",
    ),
    Cause(
        "torch.distributions",
        ("StackTransform of vectors, dim -2",),
        _EVERY,
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
        _EVERY,
        "Written to be wrong: forward leaves the log-det of the 1x1 out, the inverse subtracts it "
        "twice.",
        "test_replica_of_the_fused_layer",
    ),
    Cause(
        "replica of the paper's code",
        ("periodic, k = 5",),
        _EVERY,
        "Written to be wrong: the kernel is moved by 1, which is right for k = 3 only; the inverse "
        "comes back one pixel off on either axis.",
        "test_replica_of_the_periodic_layer",
    ),
)  # fmt: skip

#: In the order of the report; of several that cover a FAIL the first counts.
CAUSES = (*_NORMFLOWS, *_NFLOWS, *_FREIA, *_OTHERS)

#: Layers that check_layer refuses: library, name, what is so, and the test that shows it.
REFUSED = (
    (
        "FrEIA",
        "IResNetLayer",
        "It needs gradients to compute its log-det and raises under `torch.no_grad()`.",
        "test_freia_residual_needs_gradients",
    ),
    (
        "torch.distributions",
        "LowerCholeskyTransform",
        "It has no log-det, as documented: it is no bijection.",
        "test_torch_cholesky_has_no_logdet",
    ),
)


def cause_of(library: str, layer: str, check: str) -> Cause | None:
    """What a FAIL comes from, or None if no test confirms it yet."""
    return next((cause for cause in CAUSES if cause.covers(library, layer, check)), None)
