"""Layers that end their process, each at another point."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from emcheck.checks.calling import Pair


class Same(torch.autograd.Function):
    """The identity, with rules of its own: so forward mode is tried."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, pulled: Tensor) -> Tensor:
        return pulled

    @staticmethod
    def jvp(ctx: Any, pushed: Tensor) -> Tensor:
        return pushed.clone()


class Wrong(nn.Module):
    """An elementwise scale whose log-det is doubled: it kills nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.25, 0.5]))

    def forward(self, x: Tensor) -> Pair:
        self.called(x)
        return Same.apply(x) * self.log_scale.exp(), 2 * self.log_scale.sum().expand(len(x))

    def inverse(self, z: Tensor) -> Pair:
        return z * (-self.log_scale).exp(), -2 * self.log_scale.sum().expand(len(z))

    def called(self, x: Tensor) -> None:
        """What happens in each call of forward."""


class InForwardMode(Wrong):
    """A fault of the memory, where there is a tangent."""

    def called(self, x: Tensor) -> None:
        if forward_ad.unpack_dual(x).tangent is not None:
            os.kill(os.getpid(), signal.SIGSEGV)


class Leaves(Wrong):
    """An exit that pretends success, after words that are no part of any protocol."""

    def called(self, x: Tensor) -> None:
        print('{"answer": 1}', flush=True)
        if forward_ad.unpack_dual(x).tangent is not None:
            os._exit(0)


class InDiagnosis(Wrong):
    """A death where an explanation is sought."""

    def called(self, x: Tensor) -> None:
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            if "diagnosis" in frame.f_code.co_filename:
                os.kill(os.getpid(), signal.SIGKILL)


class AtOnce(Wrong):
    """A death in the first call."""

    def called(self, x: Tensor) -> None:
        os.abort()


class NotBuilt(Wrong):
    """A death in the constructor."""

    def __init__(self) -> None:
        os._exit(3)


class Waits(Wrong):
    """Something to interrupt; it tells its process."""

    def called(self, x: Tensor) -> None:
        print(f"in {os.getpid()}", flush=True)
        time.sleep(60)


class Leaving(nn.Module):
    """A standard normal density that ends its process at a large batch."""

    def log_prob(self, x: Tensor) -> Tensor:
        if len(x) > 1000:
            os._exit(0)
        return -(x.square() + math.log(2 * math.pi)).sum(1) / 2

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, 2)
