"""Training: it learns, resumes bit for bit, stops when it diverges, and splits over processes."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emcheck.cli.main import main
from emcheck.flows import Glow
from emcheck.flows.mixing import MIXINGS
from emcheck.layers import AffineAutoregressive2d
from emcheck.oracle import condition_number, explicit_jacobian
from emcheck.specs.parameter_styles import move_parameters
from studies.density.cell import RIVAL, Cell, live_parameters, matched_width
from studies.density.conditioning import mixing_conditions, point
from studies.density.data import load
from studies.density.evaluation import DRAWS, evaluate, held_out_bits
from studies.density.outcome import encode, fidelity, outcome
from studies.density.parallel import Group
from studies.density.regions import of_images
from studies.density.report.load import decode
from studies.density.show import write_samples
from studies.density.training import Diverged, Training, train

#: A tenth of a second for each step and less.
SMALL = Cell("digits", RIVAL, 1, 0, width=8, steps=24, warmup=4, logs=4, batch=16)


@pytest.fixture(scope="module")
def digits() -> Any:
    return load("digits")


def numbers(training: Training) -> list[tuple[Any, ...]]:
    """All that must not depend on interruptions: everything but the seconds."""
    return [
        (row["step"], row["train"], row["valid"], tuple(row.get("conditions", ())))
        for row in training.rows
    ]


def same(a: list[tuple[Any, ...]], b: list[tuple[Any, ...]]) -> bool:
    """Equality to the last bit, NaN (no training loss before the first step) included."""
    return json.dumps(a) == json.dumps(b)


def test_it_learns(digits: Any) -> None:
    training = Training(replace(SMALL, steps=60, identity=False), digits)
    train(training, None)
    first, last = training.rows[0]["valid"], training.rows[-1]["valid"]
    assert last < first - 0.5
    record = outcome(training)
    assert record["test"] < math.log2(17)
    assert record["test_weighted"] < record["test"]
    assert json.loads(json.dumps(record))["cell"]["mixing"] == RIVAL


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(digits: Any, tmp_path: Path) -> None:
    whole, path = Training(SMALL, digits), tmp_path / "run.pt"
    train(whole, None)

    class Stop(Exception):
        pass

    def stop(training: Training, bits: float) -> None:
        if training.step_number == 15:
            raise Stop

    with pytest.raises(Stop):
        train(Training(SMALL, digits), path, stop)
    resumed = Training(SMALL, digits)
    train(resumed, path)
    assert same(numbers(resumed), numbers(whole))
    for a, b in zip(
        whole.averaged.state_dict().values(), resumed.averaged.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.system
def test_a_killed_process_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    """SIGKILL in the middle of a run of the command line."""
    command = [
        *(sys.executable, "-m", "emcheck", "density", "train", "digits", "--depth", "1"),
        *("--width", "8", "--steps", "160", "--warmup", "4", "--log-count", "8", "--batch", "16"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    name = "digits-depth1-1x1+emerging-seed0"

    def rows(folder: Path) -> list[list[str]]:
        with (folder / f"{name}.csv").open(encoding="utf-8") as file:
            return [[r["step"], r["train"], r["valid"]] for r in csv.DictReader(file)]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, "--out", whole], check=True, env=environment, capture_output=True)
    with subprocess.Popen([*command, "--out", killed], env=environment) as process:
        deadline = time.monotonic() + 60
        while not (killed / f"{name}.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert len(rows(killed)) < len(rows(whole)), "it had ended before it was killed"
    subprocess.run([*command, "--out", killed], check=True, env=environment, capture_output=True)
    assert rows(killed) == rows(whole)


def test_with_a_budget_the_rate_falls_to_zero(digits: Any) -> None:
    cell = replace(SMALL, steps=100, warmup=10, budget=50)
    rates = [cell.rate_at(step) / cell.rate for step in range(cell.steps)]
    assert rates[4] == pytest.approx(0.5 * (1 + math.cos(0.04 * math.pi)) / 2)
    assert rates[50] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 3e-4
    assert {replace(cell, budget=0).rate_at(step) for step in range(10, 100)} == {cell.rate}
    training = Training(cell, digits)
    training.step()
    assert training.optimiser.param_groups[0]["lr"] == cell.rate_at(0)


def test_a_diverging_run_stops_with_a_clear_word(digits: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    wild = replace(SMALL, rate=30.0, warmup=0, steps=200)
    with pytest.raises(Diverged, match=r"diverged at step \d+: expected at most .* bits/dim, got"):
        train(Training(wild, digits), path)


def test_a_checkpoint_of_another_cell_is_refused(digits: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    Training(SMALL, digits).save(path)
    with pytest.raises(ValueError, match="expected a checkpoint with width = 9, got 8"):
        Training(replace(SMALL, width=9), digits).load(path)
    for content in (b"no checkpoint", b"bad\n", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="expected a checkpoint, got"):
            Training(SMALL, digits).load(path)
    for other in ([1, 2], {"weights": torch.zeros(3)}):
        torch.save(other, path)
        with pytest.raises(ValueError, match="expected a checkpoint, got a file without its parts"):
            Training(SMALL, digits).load(path)


def test_processes_that_disagree_about_a_checkpoint_are_refused() -> None:
    class Half(Group):
        def mean(self, value: torch.Tensor) -> float:
            return 0.5

    assert Group().agree(True)
    assert not Group().agree(False)
    with pytest.raises(ValueError, match="expected every process to see the checkpoint"):
        Half().agree(True)


def test_the_emerging_flow_starts_where_glow_starts(digits: Any) -> None:
    """Bit for bit: the loss of step 0. The gradients of what both have agree to rounding."""
    pair = [Training(replace(SMALL, mixing=mixing), digits) for mixing in ("1x1", RIVAL)]
    x = pair[0]._batch("batch", 0, 16)
    losses = []
    for training in pair:
        loss = training.flow.bits_per_dim(x, 17).mean()
        loss.backward()
        losses.append(loss.detach())
    assert torch.equal(*losses)
    own, more = (dict(training.flow.named_parameters()) for training in pair)
    shared = [  # a convolution lies between the 1x1 and the coupling: the coupling moves by one
        (own[name], more[name.replace("layers.3.", "layers.4.")]) for name in own
    ]
    assert len(shared) == len(own)
    for a, b in shared:
        assert torch.equal(a, b)
        torch.testing.assert_close(a.grad, b.grad)


def test_overfitting_reports_the_best_weights(digits: Any, tmp_path: Path) -> None:
    """On eight training images validation rises again; its best log is kept, also on disk."""
    few = replace(digits, train=digits.train[:8])
    cell = replace(SMALL, steps=150, rate=0.02, logs=15, width=16, average=0.5)
    training = Training(cell, few)
    train(training, tmp_path / "run.pt")
    valid = [row["valid"] for row in training.rows]
    best = int(np.argmin(valid))
    assert 0 < best < len(valid) - 1
    assert training.best_step == training.rows[best]["step"]
    found = float(evaluate(training.best, few.valid, 17, "valid").mean())
    assert found == valid[best]
    again = Training(cell, few)
    again.load(tmp_path / "run.pt")
    assert float(evaluate(again.best, few.valid, 17, "valid").mean()) == found
    assert outcome(again)["best_step"] == training.best_step


def test_recomputed_training_follows_the_ordinary_one(digits: Any) -> None:
    runs = []
    for recompute in (False, True):
        training = Training(replace(SMALL, recompute=recompute), digits)
        runs.append([training.step() for _ in range(10)])
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-4)


def test_processes_share_a_batch() -> None:
    x = torch.arange(8.0)
    shares = [Group(rank, 4).share(x) for rank in range(4)]
    assert torch.equal(torch.cat(shares), x)
    with pytest.raises(ValueError, match="3 processes can share, got 16"):
        Group(0, 3).validate(16)


@pytest.mark.system
def test_two_processes_give_the_curve_of_one(tmp_path: Path) -> None:
    """``torchrun`` with gloo: the same global batch, the same loss to 1e-5 relative."""
    arguments = [
        *("-m", "emcheck", "density", "train", "digits", "--depth", "1", "--width", "8"),
        *("--steps", "20", "--log-count", "20", "--batch", "16", "--warmup", "4"),
    ]
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    curves = []
    for name, start in (("one", [sys.executable]), ("two", torchrun)):
        command = [*start, *arguments, "--out", str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        log = tmp_path / name / "digits-depth1-1x1+emerging-seed0.csv"
        with log.open(encoding="utf-8") as file:
            curves.append(
                [(float(r["train"] or 0), float(r["valid"])) for r in csv.DictReader(file)]
            )
    assert len(curves[0]) == 21
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_conditions_are_those_of_the_jacobian(mixing: str) -> None:
    flow = Glow((1, 8, 8), 2, 2, mixing, 4, seed=3)
    for part in flow.modules():
        if isinstance(part, AffineAutoregressive2d):  # the identity, until it is moved
            move_parameters(part, "trained", torch.Generator().manual_seed(1))
    found = mixing_conditions(flow)
    assert len(found) == 4
    layers = list(flow.levels[1].layers)[1:]
    double = [layer.double() for layer in layers[1 : next(
        n for n, layer in enumerate(layers) if type(layer).__name__ == "AffineCoupling2d"
    )]]  # fmt: skip

    def through(x: torch.Tensor) -> tuple[torch.Tensor, None]:
        for layer in double:
            x = layer(x)[0]
        return x, None

    J = explicit_jacobian(through, point((8, 2, 2)))
    assert found[2] == pytest.approx(condition_number(J), rel=1e-6)


def test_matched_parameters_are_the_least_that_suffice() -> None:
    shape, cell = (3, 16, 16), Cell("galaxies", "1x1", control="parameters")
    rival = live_parameters(replace(cell, mixing=RIVAL, control="").build(shape))
    width = matched_width(cell, shape)
    sizes = [
        live_parameters(replace(cell, control="", width=w).build(shape)) for w in (width - 1, width)
    ]
    assert sizes[0] < rival <= sizes[1]
    assert cell.build(shape).width == width


def test_masked_taps_are_no_parameters() -> None:
    """The emerging pair adds 7 C^2 + C and a bias of C to the 1x1 (C = 12, then 24)."""
    sizes = [live_parameters(Cell("galaxies", m, 1).build((3, 16, 16))) for m in ("1x1", RIVAL)]
    assert sizes[1] - sizes[0] == sum(2 * (3 * C * C + C * (C + 1) // 2) + C for C in (12, 24))
    corners = live_parameters(Cell("galaxies", "1x1+corner", 1).build((3, 16, 16))) - sizes[0]
    assert corners == sum(4 * (8 * c * c + c * (c + 1) // 2) for c in (3, 6))


def test_the_weighted_bound_is_the_logarithm_of_a_mean(digits: Any) -> None:
    flow = Training(SMALL, digits).averaged
    single, weighted = held_out_bits(flow, digits)
    draws = np.stack([evaluate(flow, digits.test, 17, "test", k) for k in range(DRAWS)])
    by_hand = -np.log2(np.mean(2.0 ** (-64 * (draws - draws.min(axis=0))), axis=0)) / 64
    np.testing.assert_allclose(weighted, by_hand + draws.min(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(single, draws[0])
    assert (weighted.numpy() <= draws.mean(axis=0)).all()  # Jensen


def test_fidelity_of_a_flow_that_loses_what_it_draws() -> None:
    values = np.random.default_rng(0).integers(0, 256, (300, 1, 4, 4), np.uint8)
    data = of_images("noise", values, 256, mirror=False)
    flow = Glow(data.shape, 1, 1, "1x1", 4, seed=0)
    whole = fidelity(flow, data)
    assert whole["image"] < 0.01
    assert whole["changed"] == whole["lost"] == whole["lost_float64"] == 0
    with torch.no_grad():
        flow.top.scale.fill_(1e-39)  # what is drawn lies 1e39 away
    lost = fidelity(flow, data)
    assert (lost["lost"], lost["lost_float64"]) == (1, 0)


def test_pictures_survive_json() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), np.uint8)
    assert np.array_equal(decode(json.loads(json.dumps(encode(images)))), images)


def test_samples_of_a_checkpoint(digits: Any, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "run.pt"
    Training(SMALL, digits).save(path)
    out = write_samples(path, 10, 0.7, 0, 2, tmp_path / "s.png")
    with Image.open(out) as image:
        assert image.size == ((8 * 9 + 1) * 2, (2 * 9 + 1) * 2)
    before = out.read_bytes()
    assert write_samples(path, 10, 0.7, 0, 2, out).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mixing": "3x3"}, "expected a mixing among"),
        ({"control": "luck"}, "expected a control among"),
        ({"batch": 0}, "expected batch to be at least 1, got 0"),
        ({"rate": 0.0}, "expected rate > 0"),
        ({"average": 1.0}, "average < 1"),
    ],
)
def test_refused_cells(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "lsun"], "expected a data set among"),
        (["train", "cifar10"], "expected --root"),
        (["train", "digits", "--mixing", "3x3"], "expected a mixing among"),
        (["train", "digits", "--device", "tpu"], "expected --device to be cpu or cuda"),
        (["train", "digits", "--levels", "4"], "multiples of 16"),
        (["sample", "absent.pt"], "expected a checkpoint"),
        (["train", "digits", "--control", "time"], "expected --control parameters, got time"),
        (["sweep", "--plan", "big"], "expected a plan among"),
        (["sweep", "--plan", "smoke", "--workers", "0"], "expected at least 1 worker, got 0"),
        (["report", "absent"], "expected finished cells"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["emcheck", "density", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
