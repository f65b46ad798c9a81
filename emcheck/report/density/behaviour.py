"""How the flows get there: curves, conditioning, fidelity, time and samples."""

from __future__ import annotations

import math

from emcheck.report.density.differences import RIVAL
from emcheck.report.density.figures import CAPTION_LINES
from emcheck.report.density.load import FLAT, Density
from emcheck.report.markdown import code, figure, number, plural, table
from emcheck.report.tidy import records

#: Grey levels of a round trip up to which sampling counts as faithful: no pixel can change.
FAITHFUL = 0.5


def behaviour(density: Density, figures: list[str]) -> list[str]:
    """The sections about training and sampling, in the order of the page."""
    return [
        _curves(density, figures),
        _conditions(density, figures),
        _fidelity(density),
        _speed(density),
        _samples(figures),
    ]


def _curves(density: Density, figures: list[str]) -> str:
    cells = density.trained
    worst = records(cells.nlargest(1, "last_quarter"))[0]
    median = cells["last_quarter"].median()
    flat = int((cells["last_quarter"] <= FLAT).sum())
    text = (
        f"Over the last quarter of the steps validation improved by {median:.4f} bits/dim "
        f"(median over trainings; most: {worst['last_quarter']:.4f}, {worst['data']} "
        f"{code(worst['variant'])} at depth {worst['depth']}); {flat} of "
        f"{plural(len(cells), 'training')} improved by at most {FLAT:g}. "
    )
    text += (
        "Training has flattened at this scale."
        if median <= FLAT
        else "**Training has not flattened: longer runs would lower all numbers, and the "
        "differences may change.**"
    )
    parts = ["## Curves", text]
    if "curves" in figures:
        parts.append(
            figure(
                "density_curves",
                f"Validation bits/dim of the averaged weights: {CAPTION_LINES}. Mean over seeds; "
                "shaded: from the best to the worst seed.",
            )
        )
    return "\n\n".join(parts)


def _conditions(density: Density, figures: list[str]) -> str:
    cells = density.trained
    worst = cells.groupby("variant")["condition"].max().sort_values()
    rows = [[code(name), number(float(value))] for name, value in worst.items()]
    parts = [
        "## Conditioning of the mixing layers",
        "The largest 2-norm condition number of any mixing layer after training, over all "
        "trainings of a variant (1x1 and convolution together, at the size they have in the flow).",
        table(["variant", "worst condition"], rows),
    ]
    if "conditions" in figures:
        parts.append(
            figure(
                "density_conditions",
                "Worst condition number of a mixing layer over training, seed 0, deepest flows. "
                "It leaves 1 and levels off where training does.",
            )
        )
    return "\n\n".join(parts)


def _fidelity(density: Density) -> str:
    cells = density.trained
    head = ["variant", "image, grey levels", "pixels changed", "latents lost", "in float64"]
    rows, unfaithful = [], []
    for name, group in cells.groupby("variant"):
        image = float(group["fidelity_image"].max())
        changed = float(group["fidelity_changed"].max())
        lost = [f"{group[f'fidelity_{which}'].mean():.2%}" for which in ("lost", "lost_float64")]
        rows.append([code(name), number(image), f"{changed:.3%}", *lost])
        if image > FAITHFUL:
            unfaithful.append(code(name))
    told = (
        "Largest error of a float32 round trip of test images, over all trainings of a variant; "
        "and the share of drawn latents (temperature 1, 512 each, mean over trainings) that do "
        "not come back within a hundredth of a standard deviation, or are not finite on the way. "
        "Where float64 loses as many, the trained flow itself throws them far out, and no "
        "precision helps. "
    )
    told += (
        f"Not faithful (over {FAITHFUL} grey levels): {', '.join(unfaithful)}."
        if unfaithful
        else f"Of images all are faithful: none reaches {FAITHFUL} grey levels."
    )
    return "\n\n".join(["## Does float32 sampling stay faithful?", told, table(head, rows)])


def _speed(density: Density) -> str:
    cells = density.trained
    deepest = cells[cells["depth"] == cells.groupby("data")["depth"].transform("max")]
    times = deepest.pivot_table(
        index="variant", columns="data", values="sample_seconds", aggfunc="median"
    )
    rows = [
        [code(name), *("–" if math.isnan(t) else f"{t * 1e3:.3f}" for t in row)]
        for name, row in zip(times.index, times.to_numpy(), strict=True)
    ]
    told = (
        "Milliseconds per image: median over trainings of one call for 64 images, one thread, "
        "deepest flows, with the other worker busy beside it. The bar, measured side by side, is "
        "in the contests of [summary.md](summary.md)."
    )
    ratios = "\n".join(
        f"- {row['setting']}: {row['ratio']:.3f}" for row in records(density.step_ratios)
    )
    return "\n\n".join(
        [
            "## Sampling time",
            told,
            table(["variant", *times.columns], rows),
            f"Seconds of a training step, {code(RIVAL)} over {code('1x1')} (what the control that "
            "is matched in time got in steps):",
            ratios or "not measured",
        ]
    )


def _samples(figures: list[str]) -> str:
    parts = ["## Samples, and their nearest training patches"]
    for name in figures:
        if name.startswith("samples_"):
            data = name.removeprefix("samples_")
            parts.append(
                figure(
                    f"density_{name}",
                    f"{data}: samples at temperature 1 of the deepest flows with seed 0, and below "
                    "each the training patch nearest to it, among all places and mirror images. "
                    "Copies would be equal.",
                )
            )
    return "\n\n".join(parts) if len(parts) > 1 else ""
