"""Which failing checks follow from a fault in which part of a layer."""

from __future__ import annotations

_GROUPS = {
    "logdet": (
        "logdet_matches_jacobian", "logdet_matches_definition", "logdets_cancel",
        "logdet_scales_with_pixels", "logdet_is_constant_in_x", "log_det_alone_agrees",
        "chain_adds_up", "density_integrates_to_one", "degenerate_sizes", "extreme_parameters",
        "nothing_goes_stale", "singular_parameters_are_named",
    ),
    "inverse logdet": (
        "inverse_logdet_matches_jacobian", "logdets_cancel", "chain_adds_up",
        "log_det_alone_agrees", "compiled_agrees",
    ),
    "rows": (
        "rows_are_independent", "memory_layouts_agree", "nan_stays_in_its_sample", "vmap_agrees",
        "empty_batch",
    ),
    "forward": (
        "forward_matches_definition", "inverse_undoes_forward", "forward_undoes_inverse",
        "inverse_backward_error", "degenerate_sizes", "extreme_scales", "extreme_parameters",
        "nothing_goes_stale", "map_is_affine", "shift_moves_the_latent", "shift_is_cyclic",
        "jacobian_matches_definition", "jacobian_is_triangular", "jacobian_is_block_circulant",
        "reversed_is_flipped", "chain_adds_up", "logdet_matches_jacobian",
        "gradient_of_inverse", "gradient_of_latent", "density_integrates_to_one", "vmap_agrees",
        "logdet_matches_definition", "rows_are_independent",
    ),
    "inverse": (
        "inverse_undoes_forward", "forward_undoes_inverse", "inverse_backward_error",
        "degenerate_sizes", "extreme_scales", "extreme_parameters", "nothing_goes_stale",
        "reversed_is_flipped", "chain_adds_up", "inverse_logdet_matches_jacobian",
        "logdets_cancel", "gradient_of_inverse", "gradient_of_inverse_logdet", "jvp_agrees",
        "vmap_agrees", "rows_are_independent", "memory_layouts_agree",
        "nan_stays_in_its_sample", "compiled_agrees", "density_integrates_to_one",
        "state_dict_restores", "copies_and_pickles_agree", "train_and_eval_agree",
    ),
    "gradients": (
        "gradient_of_latent", "gradient_of_logdet", "gradient_of_inverse",
        "gradient_of_inverse_logdet", "no_dead_parameter", "jvp_agrees",
        "logdet_matches_jacobian", "inverse_logdet_matches_jacobian",
    ),
    "values": (
        "inverse_undoes_forward", "forward_undoes_inverse", "forward_matches_definition",
        "inverse_backward_error", "degenerate_sizes",
    ),
}  # fmt: skip

#: Checks that fail if the two directions do not undo each other.
UNDONE = ("inverse_undoes_forward", "forward_undoes_inverse", "inverse_backward_error")

LOGDET = frozenset(_GROUPS["logdet"]) | frozenset(_GROUPS["inverse logdet"])
#: Checks that also fail if a log-det is NaN or wrong for one sample.
LOGDET_OF_ROWS = LOGDET | frozenset(_GROUPS["rows"]) | {
    "gradient_of_logdet", "gradient_of_inverse_logdet",
}  # fmt: skip
FORWARD = frozenset(_GROUPS["forward"])
INVERSE = frozenset(_GROUPS["inverse"])
GRADIENTS = frozenset(_GROUPS["gradients"])
ROWS = frozenset(_GROUPS["rows"])


class _Everything(frozenset[str]):
    """The set of all checks: its intersection with another set is the other set."""

    def __and__(self, other: object) -> frozenset[str]:
        return frozenset(other) if isinstance(other, frozenset) else NotImplemented

    __rand__ = __and__


#: Any check: a layer that is not a function of its input may fail all of them.
ANY: frozenset[str] = _Everything()
