"""The effects of a layer on the process that it runs in."""

from __future__ import annotations

from emcheck.bounds import Measure
from emcheck.checks.calling import inverse_of
from emcheck.checks.core import check, yes
from emcheck.checks.trial import Trial
from emcheck.guard.surroundings import Surroundings, changed_so_far
from emcheck.known import Clause


@check("state", Clause.PURITY, house=True)
def settings_are_kept(trial: Trial) -> Measure:
    """Building and calling a layer changes no setting of the whole process.

    Such settings are gradients switched off, another default dtype or fewer threads, which other
    code would inherit. Changes by an earlier check or by the layer's import count as well.
    """
    inside = Surroundings()
    with inside.standard():
        layer = trial.subject.build(trial.case).to(dtype=trial.case.dtype)
        layer(trial.x.clone())
        if trial.has("inverse"):
            inverse_of(layer, trial.latent)
    names = dict.fromkeys([*changed_so_far(), *inside.changed])
    return yes(not names, f"the layer changed {', '.join(names)} for the whole process")
