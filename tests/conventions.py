"""One map under the calls of many codes: right, or with a log-det that forgets the pixels."""

from __future__ import annotations

import torch
from torch import nn

SHAPE = (2, 2, 3)


class Core(nn.Module):
    """A scale and shift for each channel, the scale of the second a function of the first."""

    pixels = True

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.3, -0.2]).view(2, 1, 1))
        self.shift = nn.Parameter(torch.tensor([0.5, 1.0]).view(2, 1, 1))
        self.slope = nn.Parameter(torch.tensor(0.4))

    def gate(self, kept):
        return torch.cat([torch.zeros_like(kept), (self.slope * kept).tanh()], 1)

    def there(self, x):
        log_scale = self.log_scale + self.gate(x[:, :1])
        return x * log_scale.exp() + self.shift, self.total(log_scale)

    def back(self, z):
        kept = (z[:, :1] - self.shift[:1]) * (-self.log_scale[:1]).exp()
        log_scale = self.log_scale + self.gate(kept)
        return (z - self.shift) * (-log_scale).exp(), -self.total(log_scale)

    def total(self, log_scale):
        if not self.pixels:
            return log_scale.mean(dim=(2, 3)).sum(1)
        return log_scale.sum(dim=(1, 2, 3))


class Sldj(Core):
    def forward(self, x, sldj=None, reverse=False):
        value, logdet = self.back(x) if reverse else self.there(x)
        return value, logdet if sldj is None else sldj + logdet


class GlowLike(Core):
    def forward(self, input, logdet=None, reverse=False):
        value, own = self.back(input) if reverse else self.there(input)
        return value, None if logdet is None else logdet + own


class Ldj(Core):
    def forward(self, z, log_det_jacobian, invert=False):
        value, own = self.back(z) if invert else self.there(z)
        return value, log_det_jacobian + own


class Subtracts(Core):
    def forward(self, x, logpx=None, reverse=False):
        value, own = self.back(x) if reverse else self.there(x)
        return value if logpx is None else (value, logpx - own.view(logpx.shape))


class AddsToDensity(Core):
    def forward(self, x, log_p):
        value, own = self.there(x)
        return value, log_p + own

    def inverse(self, z, log_p):
        value, own = self.back(z)
        return value, log_p + own


class Direction(Core):
    def forward(self, x, direction="forward"):
        if direction not in ("forward", "inverse"):
            raise ValueError(direction)
        return self.there(x) if direction == "forward" else self.back(x)


class Mode(Core):
    def forward(self, x, mode):
        return {"encode": self.there, "decode": self.back}[mode](x)


class ReverseAlone(Core):
    def forward(self, x, rev=False):
        return self.back(x)[0] if rev else self.there(x)


class Generate(Core):
    def forward(self, x):
        return list(self.there(x))

    def generate(self, z):
        return self.back(z)[0]


class FAndG(Core):
    def f(self, x):
        return self.there(x)

    def g(self, z):
        return self.back(z)


class Transform(Core):
    def transform(self, x):
        return self.there(x)

    def inverse_transform(self, z):
        return self.back(z)


class Stored(Core):
    def forward(self, x):
        z, self.logdet = self.there(x)
        return z

    def inverse(self, z):
        return self.back(z)[0]


class ByMethod(Core):
    def forward(self, x):
        return self.there(x)[0]

    def inverse(self, z):
        return self.back(z)[0]

    def log_abs_det_jacobian(self, x, z):
        return self.there(x)[1]


class Switch(Core):
    def forward(self, x, return_logdet=False):
        z, logdet = self.there(x)
        return (z, logdet) if return_logdet else z

    def inverse(self, z, return_logdet=False):
        x, logdet = self.back(z)
        return (x, logdet) if return_logdet else x


class InAList(Core):
    def forward(self, x, rev=False, jac=True):
        value, logdet = self.back(x[0]) if rev else self.there(x[0])
        return [value], logdet


class Column(Core):
    def forward(self, x):
        z, logdet = self.there(x)
        return z, logdet[:, None]

    def reverse(self, z):
        x, logdet = self.back(z)
        return x, logdet[:, None]


class PerEntry(Core):
    def forward(self, x):
        log_scale = self.log_scale + self.gate(x[:, :1])
        share = 1.0 if self.pixels else 1.0 / x[0, 0].numel()
        return x * log_scale.exp() + self.shift, share * log_scale.expand_as(x)

    def inverse(self, z):
        return self.back(z)[0]


class OptionalContext(Core):
    def forward(self, x, cond=None, reverse=False):
        return self.back(x) if reverse else self.there(x)


CONVENTIONS = {
    cls.__name__: cls
    for cls in (
        Sldj, GlowLike, Ldj, Subtracts, AddsToDensity, Direction, Mode, ReverseAlone, Generate,
        FAndG, Transform, Stored, ByMethod, Switch, InAList, Column, PerEntry, OptionalContext,
    )
}  # fmt: skip


def wrong(cls):
    """The same calls around a log-det that forgets the pixels."""
    return type(f"Wrong{cls.__name__}", (cls,), {"pixels": False, "__module__": cls.__module__})


class Conditional(nn.Module):
    """An affine map for each sample, by its own context."""

    def __init__(self, inputs=3):
        super().__init__()
        self.net = nn.Linear(inputs, 8)

    def terms(self, c):
        shift, log_scale = self.net(c).tanh().chunk(2, 1)
        return shift.view(-1, 2, 2), log_scale.view(-1, 2, 2)

    def forward(self, x, c):
        shift, log_scale = self.terms(c)
        return x * log_scale.exp() + shift, log_scale.flatten(1).sum(1)

    def inverse(self, z, c):
        shift, log_scale = self.terms(c)
        return (z - shift) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)


class Unconditional(Conditional):
    """The context is taken and forgotten."""

    def __init__(self):
        super().__init__(inputs=1)

    def terms(self, c):
        return super().terms(torch.ones(len(c), 1, dtype=self.net.weight.dtype))


class Mixed(Conditional):
    """The contexts of the batch are mixed."""

    def terms(self, c):
        return super().terms(c - c.mean(0, keepdim=True))


class OneDirection(Conditional):
    """The inverse forgets the context."""

    def inverse(self, z, c):
        return super().inverse(z, torch.zeros_like(c))


class Labelled(Conditional):
    """A class for each sample."""

    def __init__(self):
        super().__init__(5)
        self.table = nn.Embedding(4, 5)

    def terms(self, y):
        return super().terms(self.table(y))


class LabelledWrong(Labelled):
    """Of each pair of classes one is used for both, in the log-det alone."""

    def forward(self, x, c):
        return super().forward(x, c)[0], super().forward(x, c // 2 * 2)[1]


class Ignores(Conditional):
    """The context changes nothing."""

    def terms(self, c):
        return super().terms(0 * c)


class ScaleOfLogdet(Core):
    """An argument that is named like a log-det and is none."""

    def forward(self, x, logdet_scale=1.0):
        z, logdet = self.there(x)
        return z, logdet_scale * logdet

    def inverse(self, z, logdet_scale=1.0):
        x, logdet = self.back(z)
        return x, logdet_scale * logdet


CONVENTIONS["ScaleOfLogdet"] = ScaleOfLogdet


class Named(Core):
    """Answers by name."""

    def forward(self, x, is_inverse=False):
        value, logdet = self.back(x) if is_inverse else self.there(x)
        return {"out": value, "log_det": logdet}


class LogdetFirst(Core):
    def forward(self, x):
        return self.there(x)[::-1]

    def inverse(self, z):
        return self.back(z)[::-1]


class WithMore(Core):
    """A third part that nobody asked for."""

    def forward(self, x):
        return (*self.there(x), {"kept": x[:, :1]})

    def inverse(self, z):
        return (*self.back(z), None)


class Signed(Core):
    def forward(self, x, ladj, direction=1):
        value, logdet = self.there(x) if direction == 1 else self.back(x)
        return value, ladj + logdet


class OwnNames(Core):
    def encode_batch(self, x):
        return self.there(x)

    def decode_batch(self, z):
        return self.back(z)[0]


CONVENTIONS |= {c.__name__: c for c in (Named, LogdetFirst, WithMore, Signed, OwnNames)}


class FixedPoint(nn.Module):
    """z = x + c tanh(x) / 2, inverted by iteration; the slowest sample decides for all."""

    def __init__(self, most=100):
        super().__init__()
        self.tol, self.most = 1e-5, most

    def forward(self, x):
        return x + x.tanh() / 2, (1 + (1 - x.tanh() ** 2) / 2).log().sum(1)

    def inverse(self, z):
        x = z
        for _ in range(self.most):
            x, before = z - self.inner(x), x
            if len(x) == 0 or (x - before).abs().max() <= self.tol:
                break
        return x

    def inner(self, x):
        return x.tanh() / 2


class ThreeSteps(FixedPoint):
    """Three steps, whatever the tolerance."""

    def __init__(self):
        super().__init__(most=3)


class LeakingFixedPoint(FixedPoint):
    """Samples of a batch reach each other in the inverse."""

    def inner(self, x):
        return x.tanh() / 2 + 0.01 * (x.mean(0) - x)


class Hutchinson(nn.Module):
    """z = exp(M) x with tr(M) by random signs; a share of the estimate has a gradient."""

    def __init__(self, share=1.0):
        super().__init__()
        self.matrix = nn.Parameter(0.3 * torch.eye(3) + 0.1)
        self.share = share

    def trace(self, x):
        v = torch.randint(0, 2, x.shape).to(x) * 2 - 1
        t = ((v @ self.matrix) * v).sum(1)
        return (self.share * t + (1 - self.share) * t.detach()) if self.share else t.detach()

    def forward(self, x):
        return x @ torch.linalg.matrix_exp(self.matrix), self.trace(x)

    def inverse(self, z):
        return z @ torch.linalg.matrix_exp(-self.matrix), -self.trace(z)


class WithUnused(FixedPoint):
    """x times a scale, called by a flag; one parameter is forgotten."""

    def __init__(self):
        super().__init__()
        self.log_scale, self.unused = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))

    def forward(self, x, reverse=False):
        sign = -1 if reverse else 1
        logdet = sign * self.log_scale.sum().expand(len(x))
        return x * (sign * self.log_scale).exp(), logdet

    inverse = None
