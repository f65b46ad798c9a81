"""Every layer on patches of real photographs: round trips and log-dets as a user has them."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benches.check import inverse_error
from emcheck.bounds import Arithmetic, Measure
from emcheck.contract import Event
from emcheck.oracle import as_extended
from emcheck.result import Verdict, excess
from emcheck.specs import REGISTRY, SPECS
from emcheck.specs.core import Trait
from emcheck.specs.parameter_styles import move_parameters
from studies import images
from studies.images import SOURCES, load_image, load_patches

SIZE, PATCHES = 16, 8
#: The bound of a round trip needs a dense inverse: that of a corner of the first patches.
CORNER, CORNERS = 8, 2
SEED = 0
STATES = ("trained", "initialized")
CASES = [
    (name, state)
    for name, cls in REGISTRY.items()
    for state in STATES
    if state == "trained" or Trait.INITIALIZES in SPECS[cls].traits
]


@lru_cache(maxsize=len(SOURCES))
def centred(source: str) -> Tensor:
    """Patches of one photograph as a flow takes them, ``x - 1/2``."""
    return load_patches(source, SIZE, PATCHES, SEED) - 0.5


def fitted(x: Tensor, channels: int) -> Tensor:
    """``x`` squeezed until it has that many channels at least."""
    while x.shape[1] < channels:
        x = F.pixel_unshuffle(x, 2)
    return x


def prepared(name: str, state: str, x: Tensor) -> nn.Module:
    """The layer at default options, after training or after ``initialize(x)``."""
    spec = SPECS[REGISTRY[name]]
    generator = torch.Generator().manual_seed(SEED)
    options = {key: values[0] for key, values in spec.options.items()}
    layer = spec.new(event_of(x), options, generator).to(x.dtype)
    move_parameters(layer, "trained", generator)
    if state == "initialized":
        layer.initialize(x)
    return layer


def event_of(x: Tensor) -> Event:
    _, C, H, W = x.shape
    return C, H, W


def returned(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``z``, the log-det and ``inverse(z)``."""
    with torch.no_grad():
        z, logdet = layer(x)
        return z, logdet, layer.inverse(z)[0]  # type: ignore[operator]


def written(value: float) -> float | str:
    """A number as JSON has it, else its name."""
    return value if math.isfinite(value) else str(value)


def verdict(measures: list[Measure]) -> Verdict:
    """FAIL if a measure that could be judged is over its threshold."""
    over = [m for m in measures if not m.ok]
    if any(not m.ill_conditioned for m in over):
        return Verdict.FAIL
    return Verdict.ILL_CONDITIONED if over else Verdict.PASS


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "state"), CASES)
def test_round_trip_and_logdet_on_real_images(
    name: str, state: str, dtype: str, source: str, record_property: Callable[[str, object], None]
) -> None:
    """The round trip at two sizes: backward error of all patches, error of two corners."""
    spec = SPECS[REGISTRY[name]]
    arithmetic = Arithmetic.of(getattr(torch, dtype))
    x = fitted(centred(source), spec.min_channels).to(getattr(torch, dtype))
    layer = prepared(name, state, x)
    definition = spec.define(layer, event_of(x))
    z, logdet, xh = returned(layer, x)
    of_logdet = definition.logdet_error(as_extended(x), as_extended(logdet), arithmetic)
    corner = x[:CORNERS, :, :CORNER, :CORNER].contiguous()
    cut = prepared(name, state, corner) if spec.sized else layer
    back = as_extended(returned(cut, corner)[2])
    small = spec.define(cut, event_of(corner))
    trips = [
        inverse_error(layer, definition, z, xh, arithmetic),
        small.round_trip_error(as_extended(corner), back, arithmetic),
    ]
    answer = verdict([*trips, of_logdet])
    record = {
        "kind": "image",
        "source": source,
        "layer": name if state == "trained" else f"{name} after initialize(x)",
        "dtype": dtype,
        "patches": PATCHES,
        "shape": list(event_of(x)),
        "round_trip_ratio": written(max(excess(m.ratio, m.threshold) for m in trips)),
        "round_trip_error": written(float((xh - x).abs().max())),
        "bits_per_dim_logdet": written(float(logdet.mean()) / (x[0].numel() * math.log(2))),
        "logdet_error_ratio": written(excess(of_logdet.ratio, of_logdet.threshold)),
        "threshold": 1.0,
        "verdict": answer.value,
    }
    record_property("emcheck", record)
    assert answer is Verdict.PASS, f"{[*trips, of_logdet]}"


def test_every_layer_is_run_on_every_source() -> None:
    assert {name for name, _ in CASES} == set(REGISTRY)
    assert len(SOURCES) >= 6


@pytest.mark.parametrize("source", SOURCES)
def test_all_patches_are_exactly_the_tiles_of_the_image(source: str) -> None:
    """So any number of patches is disjoint; a tile that the image repeats counts twice."""
    image, size = load_image(source), 64
    rows, columns = image.shape[0] // size, image.shape[1] // size
    tiles = [
        image[i * size : (i + 1) * size, j * size : (j + 1) * size].transpose(2, 0, 1).tobytes()
        for i in range(rows)
        for j in range(columns)
    ]
    patches = load_patches(source, size, rows * columns, seed=1)
    assert float(patches.min()) >= 0
    assert float(patches.max()) < 1
    bytes_of = [np.floor(patch.numpy() * 256).astype(np.uint8).tobytes() for patch in patches]
    assert sorted(bytes_of) == sorted(tiles)


def test_the_seed_decides_patches_and_noise() -> None:
    first, again, other = (load_patches("chelsea", 16, 20, seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    noise = (first * 256).frac()
    # Uniform: the mean of n numbers is within 5 standard deviations of 1/2.
    assert abs(float(noise.mean()) - 0.5) < 5 / math.sqrt(12 * noise.numel())


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for source in SOURCES:
        assert load_patches(source, 8, 1, 0).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("moon", 16, 1), "expected a source among hubble_deep_field, .* got 'moon'"),
        (("chelsea", 16, 505), "at most the 504 disjoint 16x16 patches of chelsea, got .* 505"),
        (("chelsea", 400, 1), "at most the 0 disjoint 400x400 patches of chelsea"),
        (("chelsea", 0, 1), "expected size to be a whole number >= 1, got 0"),
        (("chelsea", 16, 0), "expected count to be a whole number >= 1, got 0"),
    ],
)
def test_a_wrong_request_is_one_clear_line(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_patches(*arguments, seed=0)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(images.resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=r"expected a scikit-image that carries rocket\.jpg"):
        load_patches("rocket", 16, 1, 0)
