"""One training in several processes, started by ``torchrun``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Group:
    """The processes that share every batch.

    Args:
        rank: of this one, from 0.
        world: how many there are.
        device: of this one.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes files and progress."""
        return self.rank == 0

    def validate(self, batch: int) -> None:
        if batch % self.world:
            raise ValueError(f"expected a batch that {self.world} processes can share, got {batch}")

    def share(self, x: Tensor) -> Tensor:
        """This process's rows of a batch that all have drawn alike."""
        each = len(x) // self.world
        return x[self.rank * each : (self.rank + 1) * each]

    def wrap(self, module: nn.Module) -> nn.Module:
        """Gradients averaged over the processes."""
        return module if self.world == 1 else DistributedDataParallel(module)

    def mean(self, value: Tensor) -> float:
        """The mean of a number over the processes."""
        if self.world > 1:
            value = value.clone()
            distributed.all_reduce(value)
            value = value / self.world
        return float(value)

    def agree(self, flag: bool) -> bool:
        """``flag`` if all processes say the same.

        Raises:
            ValueError: they do not: a checkpoint that some of them cannot see.
        """
        share = self.mean(torch.tensor(float(flag), device=self.device))
        if share not in (0.0, 1.0):
            raise ValueError(
                "expected every process to see the checkpoint, got some that do not: "
                "--out must lie on a disk that all share"
            )
        return flag


#: One process on the CPU.
ALONE = Group()


@contextmanager
def joined(device: str = "cpu") -> Iterator[Group]:
    """The group that ``torchrun`` has started, or one process alone.

    gloo connects processes on the CPU, nccl those on GPUs; a process takes the GPU of its
    local rank.

    Raises:
        ValueError: an unknown device, or one that this machine lacks.
    """
    if device not in ("cpu", "cuda"):
        raise ValueError(f"expected --device to be cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("expected a CUDA device, got none that torch can use")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    chosen = local if device == "cuda" else torch.device("cpu")
    if world == 1:
        yield Group(device=chosen)
        return
    if device == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Group(distributed.get_rank(), world, chosen)
    finally:
        distributed.destroy_process_group()
