"""The fields of each kind of record: what must be there, and what may be missing."""

from __future__ import annotations

from studies.pages.schema import (
    Field,
    count,
    finite,
    flag,
    list_of,
    loose,
    name,
    number,
    one_of,
    positive,
    text,
    verdict,
)

OPERATIONS = ("forward", "inverse", "log_det")

#: What :func:`emcheck._internal.machine.describe_machine` records and a reader needs.
ORIGIN = {
    "torch": Field(loose, "unknown"),
    "numpy": Field(loose, "unknown"),
    "threads": Field(loose, "unknown"),
    "cpu": Field(loose, "unknown"),
    "gpu": Field(loose, "none"),
    "tf32": Field(loose, "unknown"),
    "cpu_capability": Field(loose, "unknown"),
    "commit": Field(loose, "unknown"),
    "dirty": Field(loose, "unknown"),
}

MACHINE = {
    **ORIGIN,
    "cpu": Field(name),
    "profile": Field(loose, "unknown"),
    "seed": Field(loose, "unknown"),
    "devices": Field(list_of(name), ()),
    "absent_devices": Field(list_of(name), ()),
}

CELL = {
    "layer": Field(name),
    "operation": Field(one_of(*OPERATIONS)),
    "sweep": Field(name),
    "channels": Field(positive),
    "height": Field(positive),
    "width": Field(positive),
    "batch": Field(positive),
    "dtype": Field(name),
    "device": Field(name),
    "threads": Field(positive),
    "calls_per_round": Field(positive, 1),
    "error_ratio": Field(number),
    "error_threshold": Field(finite),
    "error_rule": Field(text, ""),
}

STATS = {
    "median": Field(finite),
    "iqr": Field(finite, 0.0),
    "rounds": Field(positive, 1),
    "data": Field(list_of(finite), ()),
}

_RATIO = {"ratio": Field(number, float("nan")), "threshold": Field(number, float("nan"))}

CONTESTS = {**ORIGIN, "date": Field(loose, "unknown")}

CONTEST = {
    "process": Field(count),
    "threads": Field(positive),
    "contest": Field(name),
    "batch": Field(positive),
    "event": Field(name),
    "competitor": Field(name),
    "seconds": Field(number),
    "first": Field(number),
    "peak_memory": Field(number),
}

PROPERTIES = {
    "run": {
        **ORIGIN,
        "profile": Field(loose),
        "seed": Field(loose, "unknown"),
        "seconds": Field(number, float("nan")),
        "examples": Field(count),
        "checks": Field(count),
        "date": Field(loose, "unknown"),
    },
    "check": {
        "layer": Field(name),
        "check": Field(name),
        "family": Field(name, "other"),
        "dtype": Field(text, ""),
        "device": Field(text, ""),
        "verdict": Field(verdict),
        "examples": Field(count),
        "ill_conditioned": Field(count),
        **_RATIO,
        "condition": Field(number, float("nan")),
        "detail": Field(text, ""),
        "seed": Field(loose, "unknown"),
        "rule": Field(text, ""),
    },
    "fault": {
        "fault": Field(name),
        "provenance": Field(text, ""),
        "killer": Field(name),
        "check": Field(name),
        "verdict": Field(verdict),
        "ratio": Field(number, float("nan")),
        "twin_verdict": Field(verdict),
        "usual": Field(verdict, "NOT RUN"),
        "usual_twin": Field(verdict, "NOT RUN"),
    },
    "image": {
        "source": Field(name),
        "layer": Field(name),
        "dtype": Field(text, ""),
        "patches": Field(positive),
        "shape": Field(list_of(positive)),
        "round_trip_ratio": Field(number),
        "round_trip_error": Field(number),
        "bits_per_dim_logdet": Field(number),
        "logdet_error_ratio": Field(number),
        "threshold": Field(number),
        "verdict": Field(verdict),
    },
    "canary": {
        "name": Field(name),
        "ok": Field(flag),
        **_RATIO,
        "seconds": Field(number, float("nan")),
        "detail": Field(loose, ""),
        "repair": Field(loose, ""),
        "repaired": Field(loose, "none"),
    },
}
