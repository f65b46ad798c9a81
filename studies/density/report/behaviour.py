"""How the flows get there: curves, conditioning, fidelity, time and samples."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from studies.density.cell import RIVAL
from studies.density.report.figures import CAPTION_LINES, STYLES, brightening
from studies.density.report.load import FLAT, KEYS, Density
from studies.pages.markdown import code, csv_link, figure, number, plural, table
from studies.pages.tidy import records

#: Grey levels of a round trip below which it counts as faithful: less than half a level. A pixel
#: whose noise lies near the border of its level can still become the next one.
FAITHFUL = 0.5


def behaviour(density: Density, figures: list[str]) -> list[str]:
    """The sections about training and sampling, in the order of the page."""
    return [
        _curves(density, figures),
        _conditions(density, figures),
        _fidelity(density),
        _speed(density),
        _on_devices(density),
        _samples(density, figures),
    ]


def _curves(density: Density, figures: list[str]) -> str:
    cells = density.trained
    overfit = cells["last_valid"] > cells["best_valid"] + FLAT
    going = cells[~overfit]
    text = ""
    if len(going):
        worst = records(going.nlargest(1, "last_quarter"))[0]
        median = going["last_quarter"].median()
        flat = int((going["last_quarter"].abs() <= FLAT).sum())
        text = (
            f"Over the last quarter of the steps validation improved by {median:.4f} bits/dim "
            f"(median over trainings; most: {worst['last_quarter']:.4f}, {worst['data']} "
            f"{code(worst['variant'])} at depth {worst['depth']}); {flat} of "
            f"{plural(len(going), 'training')} moved by at most {FLAT:g}. "
        )
        text += (
            "Training has flattened at this scale."
            if median <= FLAT
            else "**Training has not flattened: longer runs would lower these numbers, and the "
            "differences may change.**"
        )
    if overfit.any():
        names = ", ".join(sorted(set(cells.loc[overfit, "data"])))
        text += (
            f" {plural(int(overfit.sum()), 'training')} ({names}) overfit: validation rose again, "
            "and the weights of its best log are what is reported."
        )
    parts = ["## Curves", text]
    if "curves" in figures:
        parts.append(
            figure(
                "density_curves",
                f"Validation bits/dim of the averaged weights: {CAPTION_LINES}. Mean over seeds; "
                f"shaded: from the best to the worst seed.{_risen(density)}",
            )
        )
    return "\n\n".join(parts)


def _risen(density: Density) -> str:
    """How far validation rises again, in words, for the settings where it does."""
    compared = density.curves[density.curves["variant"].isin(STYLES)]
    last = compared.sort_values("step").groupby(KEYS)["valid"].agg(["min", "last"])
    found = last[last["last"] > last["min"] + FLAT].groupby(["data", "depth"])["last"].max()
    told = [
        f"{row['data']} at depth {row['depth']} rise again, up to {row['last']:.1f}"
        for row in records(found.reset_index())
    ]
    if not told:
        return ""
    return f" The curves of {' and of '.join(told)}: these flows learn few images by heart."


def _alike(density: Density) -> pd.DataFrame:
    """Seed 0 at the greatest depth: what every variant has, so that rows compare."""
    cells = density.trained
    deepest = cells["depth"] == cells.groupby("data")["depth"].transform("max")
    return cells[deepest & (cells["seed"] == 0)]


def _conditions(density: Density, figures: list[str]) -> str:
    worst = _alike(density).pivot_table(index="variant", columns="data", values="condition")
    rows = [
        [code(name), *("–" if math.isnan(v) else number(v) for v in row)]
        for name, row in zip(worst.index, worst.to_numpy(), strict=True)
    ]
    parts = [
        "## Conditioning of the mixing layers",
        "The largest 2-norm condition number of any mixing layer at the last step, seed 0, deepest "
        "flows (1x1 and convolution together, at the size they have in the flow). Every layer at "
        f"every log: {csv_link('density_conditions')}",
        table(["variant", *worst.columns], rows),
    ]
    if "conditions" in figures:
        parts.append(
            figure(
                "density_conditions",
                "Worst condition number of a mixing layer over training, seed 0, deepest flows. "
                "An orthogonal 1x1 starts at 1; what rises is the price of what the layer learns.",
            )
        )
    return "\n\n".join(parts)


def _fidelity(density: Density) -> str:
    cells = _alike(density)
    head = ["variant", "image, grey levels", "pixels changed", "latents lost", "in float64"]
    parts = [
        "## Does float32 sampling stay faithful?",
        "Largest error of a float32 round trip of the first 128 test patches, and the share of "
        "pixels that become another whole number; the share of 512 drawn latents (temperature 1) "
        "that do not come back within a hundredth of a standard deviation, or are not finite on "
        "the way. Where float64 loses as many, the trained flow itself throws them far out, and "
        "no precision helps. Seed 0, deepest flows.",
    ]
    for data, group in cells.groupby("data"):
        rows = [
            [code(row["variant"]), number(row["fidelity_image"]),
             f"{row['fidelity_changed']:.3%}", f"{row['fidelity_lost']:.2%}",
             f"{row['fidelity_lost_float64']:.2%}"]
            for row in records(group)
        ]  # fmt: skip
        parts += [f"{data}:", table(head, rows)]
    every = density.trained
    over = sorted(set(every.loc[every["fidelity_image"] >= FAITHFUL, "variant"]))
    changed = every["fidelity_changed"].max()
    parts.append(
        f"Not faithful on images (an error of {FAITHFUL} grey levels or more in some training): "
        f"{', '.join(map(code, over))}."
        if over
        else f"In all {plural(len(every), 'training')} images come back within "
        f"{number(float(every['fidelity_image'].max()))} grey levels; at most {changed:.3%} of "
        "pixels, whose noise lay at the border of their level, become another number."
    )
    return "\n\n".join(parts)


def _speed(density: Density) -> str:
    times = _alike(density).pivot_table(index="variant", columns="data", values="sample_seconds")
    rows = [
        [code(name), *("–" if math.isnan(t) else f"{t * 1e3:.3f}" for t in row)]
        for name, row in zip(times.index, times.to_numpy(), strict=True)
    ]
    told = (
        "Milliseconds per image in one call for 64 images, one thread, seed 0, deepest flows, with "
        "other work beside it: rough. The bar, measured side by side, is "
        "in the contests of [summary.md](summary.md)."
    )
    ratios = "\n".join(
        f"- {row['setting']}: {row['ratio']:.3f}{_quartiles(row)}"
        for row in records(density.step_ratios)
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


def _on_devices(density: Density) -> str:
    """Whole flows on other devices than the CPU, side by side there."""
    parts = []
    for flows in density.flows:
        frame = pd.DataFrame(flows.rows)
        times = frame.pivot_table(
            index="competitor", columns="contest", values="seconds", aggfunc="median", sort=False
        )
        base = times.loc["1x1"]
        rows = [
            [code(str(name)), *(f"{t * 1e3:.1f}" for t in row), *(f"{r:.2f}" for r in row / base)]
            for name, row in times.iterrows()
        ]
        head = ["mixing", *(f"{name}, ms" for name in times), *(f"{name} / 1x1" for name in times)]
        size = f"batch {frame['batch'].iloc[0]} of {frame['event'].iloc[0]}"
        parts.append(
            f"On {flows.header['gpu']} (torch {flows.header['torch']}), {size}, width 64, two "
            "levels of depth 4, medians of rounds in which all take turns. Not profiled there; by "
            "count, a step starts hundreds of small operations, and the inverse of a masked "
            "convolution goes through as many as the image has diagonals of tiles.\n\n"
            + table(head, rows)
        )
    return "\n\n".join(["## On a GPU", *parts]) if parts else ""


def _quartiles(row: dict[str, Any]) -> str:
    """The middle half of the paired steps, where they were kept."""
    low, high = row.get("low"), row.get("high")
    return "" if low is None or math.isnan(low) else f" (middle half {low:.3f} to {high:.3f})"


def _samples(density: Density, figures: list[str]) -> str:
    parts = ["## Samples, and their nearest training patches"]
    for name in figures:
        if name.startswith("samples_"):
            data = name.removeprefix("samples_")
            power = brightening(density, data)
            dark = f" All are brightened alike: raised to the power {power:g}." if power < 1 else ""
            parts.append(
                figure(
                    f"density_{name}",
                    f"{data}: samples at temperature 1 of the deepest flows with seed 0, and below "
                    "each the training patch nearest to it, among all places and mirror images. "
                    f"Copies would be equal.{dark}",
                )
            )
    return "\n\n".join(parts) if len(parts) > 1 else ""
