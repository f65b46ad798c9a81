"""The report: synthetic measurements in, a readable and reproducible page out."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from emcheck._internal.files import FileError
from emcheck._internal.seal import sealed
from studies.contests.counted import COPY, MACHINE, NUMBERS, PRODUCTS, SIDE, count_frame
from studies.contests.report import CACHE_ON_DISK, EMPTY_CACHE, bar_frame, contest_frame
from studies.pages.load import read_contests, read_properties
from studies.pages.statistics import fit_growth, ratio_interval, resampled_medians, spread
from studies.report import ReportError, default_inputs, write_report

LAYERS = [
    *["Conv1x1", "Conv1x1PLU", "Conv1x1QR", "AutoregressiveConv2d-square"],
    *["AutoregressiveConv2d-raster", "AutoregressiveConv2d-square-reverse", "EmergingConv2d"],
    *["PeriodicConv2d", "ActNorm2d", "AffineCoupling2d", "AdditiveCoupling2d", "Squeeze2d"],
    "PermuteChannels",
]
FAMILIES = {
    "values": ["forward_matches_definition", "inverse_undoes_forward", "inverse_backward_error"],
    "logdet": ["logdet_matches_jacobian", "logdets_sum_to_zero", "logdet_scales_with_pixels"],
    "structure": ["jacobian_support", "translation_equivariance", "reverse_is_flip_conv_flip"],
    "gradients": ["gradient_of_logdet", "no_dead_parameter", "jvp_and_vmap_agree_with_loops"],
    "contract": ["batch_rows_independent", "nan_stays_in_its_sample", "input_unchanged"],
}
SIZES = (4, 8, 16, 32, 64, 128)

Json = dict[str, Any]


def benchmark(layer: str, operation: str, side: int, seed: int, **extra: Any) -> Json:
    """One benchmark as pytest-benchmark writes it; the inverse grows faster than linearly."""
    rng = np.random.default_rng([seed, side, len(layer), len(operation)])
    cost = {"forward": 2e-6, "inverse": 9e-6, "log_det": 3e-6}[operation]
    power = {"forward": 1.0, "inverse": 1.25, "log_det": 0.0}[operation]
    scale = cost * (side * side) ** power + 2e-5
    data = scale * (1 + 0.05 * rng.standard_exponential(4 if side == 128 else 20))
    data[0] *= 3  # a slow first round, as on a real machine
    info: Json = {
        **{"layer": layer, "operation": operation, "channels": 12, "height": side},
        **{"width": side, "batch": 32, "dtype": "float32", "device": "cpu", "threads": 2},
        **{"sweep": "fixed", "calls_per_round": 1, "error_ratio": float(rng.uniform(0.05, 0.9))},
        **{"error_threshold": 1.0, "error_rule": "T2"},
    }
    iqr = float(np.subtract(*np.quantile(data, [0.75, 0.25])))
    stats: Json = {"median": float(np.median(data)), "iqr": iqr, "rounds": len(data)}
    stats |= {"min": float(data.min()), "data": data.tolist()}
    name = f"test_{operation}[{layer}-{side}]"
    return {"name": name, "group": None, "params": {}, "stats": stats, "extra_info": info | extra}


def benchmark_file(path: Path, cpu: str = "Example CPU", threads: int = 2, **machine: Any) -> Path:
    """A benchmark file over layers, operations, sizes, two batches and two sweeps."""
    rows = []
    for layer in LAYERS:
        for operation in ("forward", "inverse", "log_det"):
            for side in SIZES:
                for batch in (1, 32):
                    extra = {"batch": batch, "threads": threads}
                    rows.append(benchmark(layer, operation, side, threads + batch, **extra))
                pyramid = {"sweep": "pyramid", "channels": 3072 // side, "threads": threads}
                rows.append(benchmark(layer, operation, side, threads + 7, **pyramid))
    about: Json = {
        **{"torch": "2.13.0", "numpy": "2.4.6", "threads": threads, "cpu": cpu, "gpu": None},
        **{"tf32": None, "cpu_capability": "AVX512", "commit": "0123456789abcdef", "dirty": False},
        **{"profile": "full", "seed": 0, "devices": ["cpu"], "absent_devices": ["cuda", "mps"]},
    }
    content: Json = {"machine_info": {"emcheck": about | machine}, "benchmarks": rows}
    content |= {"datetime": "2026-01-02T03:04:05", "commit_info": {}, "version": "5.3.1"}
    path.write_text(json.dumps(content))
    return path


def check_records() -> list[Json]:
    """Checks x layers x dtypes, some of them without a number and some ill-conditioned."""
    rng = np.random.default_rng(5)
    records: list[Json] = []
    for family, checks in FAMILIES.items():
        for check in checks:
            for layer in LAYERS:
                for dtype in ("float32", "float64"):
                    if family == "structure" and rng.uniform() < 0.4:
                        continue
                    number = family in ("values", "logdet")
                    ill = int(rng.integers(0, 4)) if number else 0
                    ratio: Any = float(rng.uniform(0.001, 0.8)) if number else "nan"
                    records.append(
                        {
                            **{"kind": "check", "layer": layer, "check": check, "family": family},
                            **{"dtype": dtype, "device": "cpu", "verdict": "PASS", "examples": 20},
                            **{"ill_conditioned": ill, "ratio": ratio, "threshold": 1.0},
                            **{"condition": 123.0, "detail": "|A| < 3", "seed": 1, "rule": "T1"},
                        }
                    )
    records[3] |= {"verdict": "UNSUPPORTED", "ratio": "nan"}
    return records


def fault_records(count: int = 12) -> list[Json]:
    """Every fault against every check: seen by its named check and by a few others."""
    checks = [check for checks in FAMILIES.values() for check in checks]
    return [
        {
            **{"kind": "fault", "fault": f"fault_number_{number:02}", "provenance": "a library"},
            **{"killer": checks[number % len(checks)], "check": check, "ratio": "inf"},
            "verdict": "FAIL" if place in (number % len(checks), 1) else "PASS",
            **{"twin_verdict": "PASS", "usual": "PASS" if number % 4 else "FAIL"},
            "usual_twin": "PASS",
        }
        for number in range(count)
        for place, check in enumerate(checks)
    ]


def property_records() -> list[Json]:
    """One record file in full: a run, checks, faults, an image, a canary."""
    run: Json = {
        **{"kind": "run", "profile": "ci", "seed": 0, "torch": "2.13.0", "numpy": "2.4.6"},
        **{"threads": 2, "cpu": "Example CPU", "commit": "0123456789abcdef", "dirty": False},
        **{"seconds": 301.5, "examples": 5000, "checks": 300, "date": "2026-01-02"},
    }
    image: Json = {
        **{"kind": "image", "source": "hubble_deep_field", "layer": "Conv1x1", "dtype": "float32"},
        **{"patches": 8, "shape": [3, 16, 16], "round_trip_ratio": 0.2, "round_trip_error": 1e-6},
        **{"bits_per_dim_logdet": -0.31, "logdet_error_ratio": 0.1, "threshold": 1.0},
        "verdict": "PASS",
    }
    canary: Json = {
        **{"kind": "canary", "name": "batched_lu", "ok": True, "ratio": 0.1, "threshold": 1.0},
        **{"seconds": 0.2, "detail": "", "repair": "", "repaired": None},
    }
    return [run, *check_records(), *fault_records(), image, canary]


def properties_file(path: Path, records: list[Json]) -> Path:
    """The records as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Path]:
    """A report of two machines and all properties, with its inputs."""
    folder = tmp_path_factory.mktemp("report")
    inputs = [
        benchmark_file(folder / "benchmarks_b.json", threads=1),
        benchmark_file(folder / "benchmarks_a.json"),
    ]
    properties = properties_file(folder / "properties.jsonl", property_records())
    page = write_report(inputs, properties, folder / "out")
    assert page == folder / "out" / "summary.md"
    return folder / "out", inputs, properties


def test_every_link_of_the_summary_resolves(reported: tuple[Path, list[Path], Path]) -> None:
    out, _, _ = reported
    pages = ("summary.md", "details.md")
    text = "".join((out / page).read_text() for page in pages)
    links = set(re.findall(r"\]\(([^)]+)\)", text))
    assert len(links) > 20
    assert [link for link in links if not (out / link).is_file()] == []
    assert set(snapshot(out)) | set(pages) == links | set(pages)
    assert len((out / "summary.md").read_text().splitlines()) <= 250


def test_the_summary_opens_with_the_verdict_and_its_denominators(
    reported: tuple[Path, list[Path], Path],
) -> None:
    out, _, properties = reported
    records = [json.loads(line) for line in properties.read_text().splitlines()]
    checks = [record for record in records if record["kind"] == "check"]
    screen = "\n".join((out / "summary.md").read_text().splitlines()[:14])
    assert "**PASS" in screen
    assert f"{len(checks)} results" in screen
    assert f"{sum(check['examples'] for check in checks):,} examples" in screen
    assert "12 killed" in screen
    assert "1,404 times on 2 machines" in screen


def test_the_usual_test_stands_beside_the_kill_matrix(
    reported: tuple[Path, list[Path], Path], tmp_path: Path
) -> None:
    out, _, _ = reported
    assert "**The usual test sees 3 of 12.**" in (out / "summary.md").read_text()
    said = {row["fault"]: row["usual_test"] for row in rows_of(out / "tables" / "faults.csv")}
    seen = [fault for fault, answer in said.items() if answer == "flagged"]
    assert seen == ["fault_number_00", "fault_number_04", "fault_number_08"]
    older = [{k: v for k, v in r.items() if "usual" not in k} for r in fault_records()]
    page = write_report([], properties_file(tmp_path / "p.jsonl", older), tmp_path / "out")
    assert "The usual test of flow libraries was not run" in page.read_text()
    with_strip, without = (
        (folder / "figures" / "kill_matrix_other.svg").read_text()
        for folder in (out, tmp_path / "out")
    )
    assert "#d55e00" in with_strip
    assert "#d55e00" not in without


@pytest.mark.parametrize("by", ["family", "layer"])
def test_denominators_add_up(reported: tuple[Path, list[Path], Path], by: str) -> None:
    out, _, properties = reported
    records = [json.loads(line) for line in properties.read_text().splitlines()]
    checks = [record for record in records if record["kind"] == "check"]
    *rows, total = rows_of(out / "tables" / f"verdicts_by_{by}.csv")
    for column in set(total) - {by}:
        assert sum(int(row[column]) for row in rows) == int(total[column])
    for row in (*rows, total):
        assert int(row["results"]) == sum(
            int(row[column]) for column in row if column.isupper() and column != by
        )
    assert int(total["results"]) == len(checks)
    assert int(total["ill_conditioned_examples"]) == sum(c["ill_conditioned"] for c in checks)


def test_two_machines_stand_side_by_side(reported: tuple[Path, list[Path], Path]) -> None:
    out, inputs, _ = reported
    rows = rows_of(out / "tables" / "times_by_cell.csv")
    benchmarks = [json.loads(path.read_text())["benchmarks"] for path in inputs]
    assert len(rows) == len(LAYERS) * len(SIZES) * 3
    for letter, listed in zip("AB", benchmarks, strict=True):  # A: 1 thread, B: 2 threads
        found = [b for b in listed if b["extra_info"] | {"layer": "Conv1x1"} == b["extra_info"]]
        found = [b for b in found if b["extra_info"]["operation"] == "inverse"]
        medians = sorted(np.median(b["stats"]["data"]) for b in found)
        shown = [float(r[f"inverse_median [{letter}]"]) for r in rows if r["layer"] == "Conv1x1"]
        assert sorted(shown) == pytest.approx(medians)
    assert "Example CPU, 1 thread" in (out / "summary.md").read_text()


def test_absent_devices_are_named_in_words(reported: tuple[Path, list[Path], Path]) -> None:
    out, _, _ = reported
    text = (out / "summary.md").read_text()
    assert "unmeasured: no CUDA device" in text
    assert "unmeasured: no MPS (Apple GPU) device" in text


def test_what_another_machine_measured_is_not_missing(tmp_path: Path) -> None:
    host = small_file(tmp_path / "host.json")
    rows = [benchmark("Conv1x1", op, 16, 0, device="cuda") for op in ("forward", "inverse")]
    gpu = small_file(tmp_path / "gpu.json", rows)
    checks = [
        properties_file(
            tmp_path / f"{device}.jsonl", [r | {"device": device} for r in check_records()]
        )
        for device in ("cpu", "cuda")
    ]
    path = write_report([host, gpu], checks, tmp_path / "out")
    page = path.read_text(encoding="utf-8")
    assert "no CUDA device" not in page
    assert page.count("no MPS (Apple GPU) device") == 1
    details = (path.parent / "details.md").read_text(encoding="utf-8")
    assert re.search(r"\| `cpu` \| (\d+) \|.*\n\| `cuda` \| \1 \|", details)


@pytest.mark.exhaustive
def test_same_input_gives_the_same_bytes(
    reported: tuple[Path, list[Path], Path], tmp_path: Path
) -> None:
    out, inputs, properties = reported
    write_report(inputs[::-1], properties, tmp_path)
    first, second = snapshot(out), snapshot(tmp_path)
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []


def small_file(path: Path, rows: list[Json] | None = None) -> Path:
    """A benchmark file of a few cells, quick to draw."""
    benchmark_file(path)
    content = json.loads(path.read_text())
    content["benchmarks"] = rows or [
        benchmark("Conv1x1", operation, side, 1)
        for operation in ("forward", "inverse", "log_det")
        for side in (8, 16)
    ]
    path.write_text(json.dumps(content))
    return path


BROKEN_BENCHMARKS = {
    "missing": (None, "got no such file"),
    "not_json": ("{'benchmarks': [", "expected JSON"),
    "empty": ("", "expected JSON"),
    "nan_literal": ('{"benchmarks": [NaN]}', "got the literal NaN"),
    "other_json": ('{"results": [1]}', 'got ["results"]'),
    "a_list": ("[1, 2]", "got [1, 2]"),
    "no_benchmarks": ('{"machine_info": {"emcheck": {}}, "benchmarks": []}', "got an empty list"),
    "no_machine": ('{"machine_info": {}, "benchmarks": [{}]}', "expected the key 'emcheck'"),
    "no_cell": ('{"machine_info": {"emcheck": {"cpu": "x"}}, "benchmarks": [{}]}', "got null"),
}

BROKEN_LINES = {
    "not_json": ('{"kind": "check", ', "expected JSON"),
    "nan_literal": ('{"kind": "check", "ratio": NaN}', "got the literal NaN"),
    "unknown_kind": ('{"kind": "checks"}', "run, check, fault, image, canary"),
    "not_an_object": ("3", "got 3"),
    "missing_key": ('{"kind": "canary", "ok": true}', "expected the key 'name'"),
    "wrong_type": ('{"kind": "canary", "name": "lu", "ok": "yes"}', "expected true or false"),
    "unknown_verdict": (json.dumps(check_records()[0] | {"verdict": "OK"}), "expected a verdict"),
    "too_many_ill": (json.dumps(check_records()[0] | {"ill_conditioned": 21}), "at most the 20"),
    "odd_ratio": (json.dumps(check_records()[0] | {"ratio": "big"}), 'got "big"'),
}


def assert_refused(benchmarks: list[Path], properties: Path | None, out: Path, *parts: str) -> None:
    """One clear line that holds ``parts``, and whatever was written stays as it was."""
    out.mkdir()
    (out / "summary.md").write_text("an earlier report")
    with pytest.raises(ReportError) as caught:
        write_report(benchmarks, properties, out)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert snapshot(out) == {"summary.md": b"an earlier report"}


@pytest.mark.parametrize("broken", sorted(BROKEN_BENCHMARKS))
def test_a_broken_benchmark_file_is_one_clear_line(broken: str, tmp_path: Path) -> None:
    content, expected = BROKEN_BENCHMARKS[broken]
    path = tmp_path / "benchmarks_bad.json"
    if content is not None:
        path.write_text(content)
    good = small_file(tmp_path / "benchmarks_good.json")
    assert_refused([good, path], None, tmp_path / "out", "benchmarks_bad.json", expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"operation": "backward"}, "expected forward or inverse or log_det"),
        ({"error_ratio": "small"}, 'got "small"'),
        ({"channels": 0}, "expected a whole number from 1"),
        ({"height": True}, "got true"),
    ],
)
def test_a_broken_cell_is_named(change: Json, expected: str, tmp_path: Path) -> None:
    row = benchmark("Conv1x1", "forward", 8, 1)
    row["extra_info"] |= change
    path = small_file(tmp_path / "bad.json", [row])
    named = ("bad.json", "benchmark 1 (test_forward[Conv1x1-8])", next(iter(change)), expected)
    assert_refused([path], None, tmp_path / "out", *named)


def test_a_cell_that_is_measured_twice_is_refused(tmp_path: Path) -> None:
    path = small_file(tmp_path / "bad.json", [benchmark("Conv1x1", "forward", 8, 1)] * 2)
    assert_refused([path], None, tmp_path / "out", "bad.json", "8x8 twice")


@pytest.mark.parametrize("broken", sorted(BROKEN_LINES))
def test_a_broken_line_is_named(broken: str, tmp_path: Path) -> None:
    line, expected = BROKEN_LINES[broken]
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(property_records()[0]) + "\n\n" + line + "\n")
    assert_refused([], path, tmp_path / "out", "bad.jsonl: line 3", expected)


def test_nothing_to_report_is_an_error(tmp_path: Path) -> None:
    assert_refused([], None, tmp_path / "out", "got neither")
    path = tmp_path / "empty.jsonl"
    path.write_text("\n")
    assert_refused([], path, tmp_path / "other", "empty.jsonl", "got an empty file")


def test_an_out_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FileError, match="expected a file to write"):
        write_report([small_file(tmp_path / "b.json")], None, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


def test_a_refused_write_leaves_every_old_file(tmp_path: Path) -> None:
    """``summary.md``, the last to be written, is a folder: no table may have changed."""
    out = tmp_path / "out"
    (out / "summary.md").mkdir(parents=True)
    (out / "tables").mkdir()
    (out / "tables" / "times.csv").write_text("an earlier table")
    with pytest.raises(FileError, match="a folder of that name"):
        write_report([small_file(tmp_path / "b.json")], None, out)
    assert snapshot(out) == {"tables/times.csv": b"an earlier table"}


def test_benchmarks_alone_say_what_is_missing(tmp_path: Path) -> None:
    rows = [benchmark("Conv1x1", o, s, 1) for o in ("forward", "inverse") for s in (8, 16)]
    rows[1]["stats"].pop("data")
    text = write_report([small_file(tmp_path / "b.json", rows)], None, tmp_path / "o").read_text()
    assert "**INCOMPLETE" in text
    assert "Checks: there are no check results" in text
    assert "log_det: no time in 2 of 2 cells" in text
    assert "Intervals: not available for 1 of 4 times" in text


def test_properties_alone_say_what_is_missing(tmp_path: Path) -> None:
    path = properties_file(tmp_path / "p.jsonl", property_records())
    text = write_report([], path, tmp_path / "out").read_text()
    assert "**INCOMPLETE" in text
    assert "Times: there is no benchmark file" in text
    assert not (tmp_path / "out" / "tables" / "times.csv").exists()


def spoilt_records() -> list[Json]:
    """A failure, a value check that judged nobody, a survivor, a flagged twin, a dead canary."""
    records = check_records()
    bad, escaped = records[0], records[2]
    bad |= {"verdict": "FAIL", "ratio": "inf"}
    for record in records:
        if (record["layer"], record["check"]) == (escaped["layer"], escaped["check"]):
            record["verdict"] = "ILL-CONDITIONED"
    faults = fault_records()
    for fault in faults:
        if fault["fault"] == "fault_number_03":
            fault["verdict"] = "PASS" if fault["check"] == fault["killer"] else "FAIL"
        if fault["fault"] == "fault_number_04" and fault["check"] == fault["killer"]:
            fault["twin_verdict"] = "FAIL"
    faults = [f for f in faults if (f["fault"], f["check"]) != ("fault_number_05", f["killer"])]
    canary = property_records()[-1] | {"ok": False, "detail": "hangs", "repaired": False}
    return [*records, *faults, canary]


def test_what_spoils_a_report_stands_first(tmp_path: Path) -> None:
    rows = [benchmark("Conv1x1", "forward", 8, 1, error_ratio="nan")]
    path = properties_file(tmp_path / "p.jsonl", spoilt_records())
    page = write_report([small_file(tmp_path / "b.json", rows)], path, tmp_path / "out")
    screen = page.read_text().split("## How to read")[0]
    assert "**FAIL: 7 problems.**" in screen
    assert "FAIL of `forward_matches_definition` on `Conv1x1`" in screen
    assert "`forward_matches_definition` never passed on `Conv1x1PLU`" in screen
    assert "fault `fault_number_03` survived `logdet_matches_jacobian` (verdict PASS)" in screen
    assert "the correct twin of `fault_number_04` was flagged" in screen
    assert "fault `fault_number_05` survived `logdet_scales_with_pixels` (verdict NOT" in screen
    assert "self-test `batched_lu` failed and was not repaired: hangs" in screen
    assert "1 time of 1 belong to results whose error is over its bound" in screen
    assert "Missing besides: the real images." in screen


def test_a_twin_that_was_not_judged_is_a_problem(tmp_path: Path) -> None:
    faults = fault_records(1)
    faults[0]["twin_verdict"] = "NOT RUN"
    page = write_report([], properties_file(tmp_path / "p.jsonl", faults), tmp_path / "out")
    expected = "twin of `fault_number_00` did not pass `forward_matches_definition`"
    assert expected in page.read_text().split("## How to read")[0]


def test_two_runs_of_one_machine_are_not_pooled(tmp_path: Path) -> None:
    rows = [benchmark("Conv1x1", "forward", side, 1) for side in (8, 16)]
    files = [small_file(tmp_path / f"{name}.json", rows) for name in ("one", "two")]
    text = write_report(files, None, tmp_path / "apart").read_text()
    assert "Example CPU, 2 threads, run 1" in text
    files = [small_file(tmp_path / f"{n}.json", [rows[n]]) for n in (0, 1)]
    text = write_report(files, None, tmp_path / "together").read_text()
    assert "run 1" not in text


def test_times_are_per_call(tmp_path: Path) -> None:
    rows = [benchmark("Conv1x1", "forward", 8, 1, calls_per_round=10)]
    write_report([small_file(tmp_path / "b.json", rows)], None, tmp_path / "out")
    (row,) = rows_of(tmp_path / "out" / "tables" / "times.csv")
    assert float(row["median"]) == pytest.approx(np.median(rows[0]["stats"]["data"]) / 10)
    assert int(row["slow_rounds"]) >= 1
    assert float(row["max_over_median"]) > 2.5


def test_default_inputs_are_those_that_exist(tmp_path: Path) -> None:
    assert default_inputs(tmp_path) == ([], [], None)
    for name in (
        "benchmarks_b.json",
        "benchmarks.json",
        "other.json",
        "properties.jsonl",
        "properties-cuda.jsonl",
        "contests.jsonl",
    ):
        (tmp_path / name).touch()
    files, properties, contests = default_inputs(tmp_path)
    assert [path.name for path in files] == ["benchmarks.json", "benchmarks_b.json"]
    assert properties == [tmp_path / "properties-cuda.jsonl", tmp_path / "properties.jsonl"]
    assert contests == tmp_path / "contests.jsonl"


def _contests(path: Path, inverse: float) -> Path:
    """Two processes, 16x16 to 128x128: forward 1 us a pixel, the inverse ``inverse`` us."""
    lines = [{"kind": "contests", "torch": "2", "threads": [1]}]
    prices = ("forward, cropped", 1), ("lanes", inverse), ("layer inverse", inverse), ("paper", 90)
    for process in range(2):
        common = {"kind": "contest", "process": process, "threads": 1, "first": 1.0}
        for batch, side in ((4, 16), (4, 32), (4, 64), (32, 16), (32, 128), (1, 128)):
            event = f"12x{side}x{side}"
            for name, cost in prices:
                row = {"contest": "masked convolution", "batch": batch, "event": event}
                row |= {"competitor": name, "seconds": 1e-6 * cost * side**2, "peak_memory": None}
                lines.append(common | row)
        memory = {"contest": "peak memory", "batch": 1, "event": "1x1x1", "competitor": "inverse"}
        lines.append(common | memory | {"seconds": None, "peak_memory": 3.0 - process})
        kept = memory | {"contest": "kept for the backward", "seconds": None}
        for name, size in (("plu", 2.0), ("normflows", 4.0)):
            lines.append(common | kept | {"competitor": name, "peak_memory": size})
        for contest, cost in ((EMPTY_CACHE, 3.25), (CACHE_ON_DISK, 0.125)):
            call = {"contest": contest, "batch": 32, "event": "12x16x16", "competitor": "QR"}
            lines.append(common | call | {"seconds": 1e-4, "first": cost, "peak_memory": None})
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.mark.parametrize(("inverse", "met"), [(0.5, True), (0.9, False)])
def test_bars_are_judged_by_the_median_ratio(tmp_path: Path, inverse: float, met: bool) -> None:
    raced = read_contests(_contests(tmp_path / "contests.jsonl", inverse))
    bars = bar_frame(pd.DataFrame(raced.rows)).set_index(["what", "size"]).sort_index()
    ratio = bars.loc[("inverse with log-det / forward, batch 32", "12x16x16")]
    assert float(ratio["median"]) == pytest.approx(inverse)
    assert bool(ratio["met"]) is met
    assert ratio["processes"] == 2
    paper = bars.loc[("the paper's algorithm / inverse, batch 32", "12x128x128")]
    assert paper["median"] == pytest.approx(90 / inverse)
    assert paper["met"]
    growth = bars.loc[("growth with pixels: exponent minus the forward's",)].iloc[0]
    assert growth["median"] == pytest.approx(0, abs=1e-9)
    kept = bars.loc[("flow of width 64: memory kept for the backward, PLU / normflows",)].iloc[0]
    assert (kept["median"], bool(kept["aim_met"])) == (0.5, True)
    memory = bars.loc[("peak memory of the inverse / its input",)].iloc[0]
    assert memory["median"] == 2.5
    first = bars.loc[("first call with an empty cache, in seconds", "QR")]
    assert (first["median"], first["met"]) == (3.25, False)
    unmeasured = bars.loc[("periodic: inverse / forward", "12x16x16")]
    assert not unmeasured["met"]
    assert unmeasured["processes"] == 0


def test_what_a_call_should_take_is_counted(tmp_path: Path) -> None:
    path = _contests(tmp_path / "contests.jsonl", 0.5)
    probe = {"kind": "contest", "threads": 1, "contest": MACHINE, "batch": 1, "event": "1x1x1"}
    probe |= {"first": 1.0, "peak_memory": None}
    lines = [
        json.dumps(probe | {"process": process, "competitor": name, "seconds": seconds})
        for process in range(2)
        for name, seconds in ((PRODUCTS, SIDE**3 / 1e10), (COPY, 8 * NUMBERS / 1e9))
    ]
    path.write_text("\n".join([path.read_text(encoding="utf-8"), *lines]), encoding="utf-8")
    frame = count_frame(contest_frame(pd.DataFrame(read_contests(path).rows)))
    (row,) = frame.to_dict("records")  # of all counts, this layer alone was measured
    products = 32 * 256 * (3 * 144 + 78)
    assert row["size"] == "32x12x16x16"
    assert (row["products"], row["bytes"]) == (products, 8 * 32 * 12 * 256)
    assert row["expected"] == pytest.approx(max(products / 1e10, 8 * 32 * 12 * 256 / 1e9))
    assert row["ratio"] == pytest.approx(1e-6 * 0.5 * 256 / row["expected"])
    page = write_report([], None, tmp_path / "out", path)
    details = (page.parent / "details.md").read_text(encoding="utf-8")
    assert "**Counted, expected, measured**, 1 thread" in details


def test_contests_alone_make_a_report(tmp_path: Path) -> None:
    contests = _contests(tmp_path / "contests.jsonl", 0.5)
    page = write_report([], None, tmp_path / "out", contests)
    assert "bars met" in page.read_text(encoding="utf-8")
    details = (page.parent / "details.md").read_text(encoding="utf-8")
    assert "## Side by side" in details
    rows = [line for line in details.splitlines() if line.startswith("| QR")]
    cells = ["QR", "12x16x16", "32", "3.25 s", "125 ms", "100 µs"]
    assert [cell.strip() for cell in rows[0].strip("|").split("|")] == cells
    assert len(rows) == 1  # not among the times
    assert (tmp_path / "out" / "figures" / "solvers.svg").exists()


@pytest.mark.parametrize("content", ["", '{"kind": "contest"}', '{"kind": "check"}', "nonsense"])
def test_broken_contests_are_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "contests.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ReportError, match="expected") as caught:
        write_report([], None, tmp_path / "out", path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.5])
def test_the_fit_recovers_a_known_exponent(exponent: float) -> None:
    """95 % intervals hold the exponent in 95 % of 400 noisy sweeps, 90.5 to 98.5 % by chance."""
    rng = np.random.default_rng(3)
    pixels = np.array([side * side for side in SIZES], dtype=float)
    hits = 0
    for _ in range(400):
        seconds = 1e-6 * pixels**exponent * np.exp(0.1 * rng.standard_normal(len(pixels)))
        fit = fit_growth(pixels.tolist(), seconds.tolist())
        hits += fit.low <= exponent <= fit.high
    assert 0.905 <= hits / 400 <= 0.985
    exact = fit_growth(pixels.tolist(), (2e-6 * pixels**exponent).tolist())
    assert exact.exponent == pytest.approx(exponent)
    assert exact.points == len(SIZES)
    assert exact.misfit == pytest.approx(1.0)


def test_a_fit_of_few_points_claims_no_interval() -> None:
    two = fit_growth([16, 64], [1.0, 4.0])
    assert two.exponent == pytest.approx(1.0)
    assert np.isnan(two.low)
    assert np.isnan(fit_growth([16], [1.0]).exponent)


@pytest.mark.parametrize("rounds", [6, 7, 15, 40])
def test_the_bootstrap_interval_covers_the_median(rounds: int) -> None:
    """Of skewed times, as real ones are, in at least 95 % of 400 tries less 2.75 sigma."""
    rng = np.random.default_rng(rounds)
    hits = 0
    for _ in range(400):
        cell = spread((1 + rng.standard_exponential(rounds)).tolist(), float("nan"))
        hits += cell.low <= 1 + np.log(2) <= cell.high
    assert hits / 400 >= 0.92


@pytest.mark.parametrize("rounds", [7, 8])
def test_resampled_medians_agree_with_plain_resampling(rounds: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_exponential(rounds)
    plain = np.median(rng.choice(values, (20_000, rounds)), axis=1)
    quick = resampled_medians(values)
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert np.mean(plain <= np.quantile(values, q)) == pytest.approx(
            np.mean(quick <= np.quantile(values, q)), abs=0.03
        )


def test_few_rounds_give_a_range_and_no_interval() -> None:
    cell = spread([1.0, 2.0, 9.0], float("nan"))
    assert (cell.low, cell.median, cell.high) == (1.0, 2.0, 9.0)
    assert cell.interval == "range of 3 rounds"
    low, high = ratio_interval([2.0] * 9, [1.0] * 9)
    assert (low, high) == (2.0, 2.0)
    assert np.isnan(ratio_interval([2.0] * 3, [1.0] * 9)[0])


def test_a_changed_record_is_told(tmp_path: Path) -> None:
    """A flipped digit is still JSON, and still of the schema."""
    (record, *_) = property_records()
    path = tmp_path / "properties.jsonl"
    path.write_text(sealed(record))
    assert read_properties(path).of(record["kind"])
    path.write_text(sealed(record).replace(f'"seconds": {record["seconds"]}', '"seconds": 301.6'))
    with pytest.raises(ReportError, match=r"line 1: expected the record that was written"):
        read_properties(path)
