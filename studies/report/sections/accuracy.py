"""Accuracy in short: verdicts by family, the ratio nearest to its threshold, real images."""

from __future__ import annotations

import pandas as pd

from emcheck.result import excess
from studies.pages.markdown import code, csv_link, error_ratio, escape, plural, table
from studies.pages.schema import Record
from studies.pages.tidy import records
from studies.report.frames import Frames
from studies.report.verdicts import worst_ratios


def accuracy(frames: Frames) -> str:
    """What the checks say of the layers, then what real images say."""
    return "\n\n".join(["## Accuracy: are the layers right?", *_checks(frames), *_images(frames)])


def _checks(frames: Frames) -> list[str]:
    if frames.checks is None:
        return ["Not run: the input holds no check results."]
    checks, worst = frames.checks, worst_ratios(frames.checks)
    passed, failed = (int((checks["verdict"] == word).sum()) for word in ("PASS", "FAIL"))
    first = (
        f"**{passed:,} of {plural(len(checks), 'result')} PASS, {failed} FAIL**, over "
        f"{plural(checks['layer'].nunique(), 'layer')}. A result is one check on one layer in one "
        "dtype; its ratio is error over a rounding bound, and each family shows the check that "
        "came nearest to its threshold."
    )
    head = ["family", "nearest to its threshold", "ratio", "checks", "results", "PASS", "examples"]
    rows = [_family(str(name), g, worst) for name, g in checks.groupby("family", sort=True)]
    links = (
        f"Counts: {csv_link('verdicts_by_family')}, {csv_link('verdicts_by_layer')}; the worst "
        f"ratio of every check: {csv_link('worst_ratios')}; every result: {csv_link('checks')}"
    )
    return [first, table(head, rows, left=2), links]


def _family(name: str, group: pd.DataFrame, worst: pd.DataFrame) -> list[str]:
    mine = worst[worst["check"].isin(group["check"]) & worst["excess"].notna()]
    which, ratio = "all answer yes or no", "–"
    if len(mine):
        top = nearest(mine, "ratio")
        which = f"{code(top['check'])} on {code(top['layer'])}"
        ratio = error_ratio(top["ratio"], top["threshold"], escape(top["rule"]))
    passed, examples = int((group["verdict"] == "PASS").sum()), int(group["examples"].sum())
    counts = (group["check"].nunique(), len(group), passed, examples)
    return [escape(name), which, ratio, *(f"{count:,}" for count in counts)]


def _images(frames: Frames) -> list[str]:
    if frames.images is None:
        return ["Real images: not run, the input holds no result on them."]
    images = frames.images
    passed = int((images["verdict"] == "PASS").sum())
    patches = images.drop_duplicates("source")["patches"].sum()
    first = (
        f"**{passed:,} of {len(images):,} runs on real images PASS**: {patches} patches of "
        f"{images['source'].nunique()} photographs, 8 bits and dequantised, forward and back "
        f"through each layer, in {' and '.join(sorted(set(images['dtype'])))}."
    )
    rows = []
    for source, group in images.groupby("source", sort=True):
        trips, logdets = (nearest(group, key) for key in ("round_trip_ratio", "logdet_error_ratio"))
        rows.append(
            [
                code(source),
                f"{int((group['verdict'] == 'PASS').sum())} of {len(group)}",
                error_ratio(trips["round_trip_ratio"], trips["threshold"], ""),
                error_ratio(logdets["logdet_error_ratio"], logdets["threshold"], ""),
            ]
        )
    head = ["image", "runs that PASS", "worst round-trip ratio", "worst log-det ratio"]
    return [first, table(head, rows), f"Run by run: {csv_link('images')}"]


def nearest(frame: pd.DataFrame, ratio: str) -> Record:
    """The row whose ratio is nearest to its threshold, or farthest over it."""
    return max(records(frame), key=lambda row: excess(row[ratio], row["threshold"]))
