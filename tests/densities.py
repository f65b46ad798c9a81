"""Whole flows, right and wrong, each as its author might have written it."""

from __future__ import annotations

import math

import torch
import torch.distributions as D
from torch import nn


class Coupled(nn.Module):
    """A base that is normal, and one coupling; each fault is one class attribute."""

    sign, lacks_constant, base, temperature, cut, offset = 1, False, 1.0, 1.0, math.inf, 0.0

    def __init__(self, n=4, inputs=0):
        super().__init__()
        torch.manual_seed(1)
        self.n = n
        self.net = nn.Sequential(nn.Linear(n // 2 + inputs, 8), nn.Tanh(), nn.Linear(8, n))

    def terms(self, kept, context):
        if context is not None:
            kept = torch.cat([kept, context], 1)
        shift, log_scale = self.net(kept).tanh().chunk(2, 1)
        return 2 * shift, log_scale

    def log_prob(self, x, context=None):
        kept, moved = x.chunk(2, 1)
        shift, log_scale = self.terms(kept, context)
        z = torch.cat([moved * log_scale.exp() + shift, kept], 1)
        constant = 0.0 if self.lacks_constant else math.log(2 * math.pi) / 2
        density = -(z.square() / self.base**2 / 2 + constant + math.log(self.base)).sum(1)
        return density + self.sign * log_scale.sum(1) + self.offset

    def sample(self, n, context=None):
        z = torch.randn(n, self.n).to(self.net[0].weight) * self.temperature
        moved, kept = z.clamp(-self.cut, self.cut).chunk(2, 1)
        shift, log_scale = self.terms(kept, context)
        return torch.cat([kept, (moved - shift) * (-log_scale).exp()], 1)


def coupled(n=4, **faults):
    return type("Coupled", (Coupled,), faults)(n)


class Unseeded(Coupled):
    def sample(self, n, context=None):
        generator = torch.Generator()
        generator.seed()
        return torch.randn(n, self.n, generator=generator, dtype=torch.float64)


class Widened(Coupled):
    """Samples are float64, whatever the parameters are."""

    def sample(self, n, context=None):
        return super().sample(n, context).double()


class BatchNormed(Coupled):
    def log_prob(self, x, context=None):
        return super().log_prob(x, context) + 0.1 * (x.sum(1) - x.sum(1).mean())


class Detached(Coupled):
    def log_prob(self, x, context=None):
        kept, moved = x.chunk(2, 1)
        return super().log_prob(torch.cat([kept.detach(), moved], 1), context)


class IgnoresContext(Coupled):
    """log_prob knows the context, sample does not."""

    def sample(self, n, context=None):
        return super().sample(n, torch.zeros_like(context))


class OnACircle:
    """Angles from -pi to pi; ``log_prob`` goes on beyond them with the same period."""

    concentration, offset = 1.0, 0.0

    def __init__(self, n, **faults):
        self.loc = torch.linspace(-1, 2, n)
        self.__dict__.update(faults)

    def log_prob(self, x):
        return D.VonMises(self.loc, torch.ones(())).log_prob(x).sum(1) + self.offset

    def sample(self, n):
        return D.VonMises(self.loc, self.concentration * torch.ones(())).sample((n,))


class Cached:
    """``log_prob`` knows the tensor that ``sample`` returned last, and no other."""

    def sample(self, n):
        self.drawn = torch.randn(n, 2)
        return self.drawn

    def log_prob(self, x):
        if x is not self.drawn:
            raise KeyError("not in the cache")
        return normal(2).log_prob(x)


class NotFinite(Coupled):
    def sample(self, n, context=None):
        x = super().sample(n, context)
        return torch.where(x.sum(1, keepdim=True) > 4, math.nan, x)


class Tempered(Coupled):
    """A temperature can be asked for; here it is heard."""

    def sample(self, n, context=None, temperature=1.0):
        self.temperature = temperature
        return super().sample(n, context)


class DeafToTemperature(Coupled):
    def sample(self, n, context=None, temperature=1.0):
        return super().sample(n, context)


class Stretched(D.transforms.ExpTransform):
    """The exponential, with the log-det of its inverse."""

    def log_abs_det_jacobian(self, x, y):
        return -x


class Summed(D.TransformedDistribution):
    """A distribution that adds up base and log-det by itself; each fault is one attribute."""

    sign = -1

    def log_prob(self, value):
        total, transform = 0.0, self.transforms[0]
        x = transform.inv(value)
        total = self.sign * transform.log_abs_det_jacobian(x, value).sum(-1)
        return total + self.base_dist.log_prob(x)


def summed(sign=-1, transform=None):
    made = type("Summed", (Summed,), {"sign": sign})
    transform = transform or D.ExpTransform()
    return made(normal(3), [transform])


def normal(n):
    return D.Independent(D.Normal(torch.zeros(n), torch.ones(n)), 1)


RIGHT = {
    "coupled": (lambda: coupled(4), (4,)),
    "with a temperature": (Tempered, (4,)),
    "in two dimensions": (lambda: coupled(2), (2,)),
    "in twenty": (lambda: coupled(20), (20,)),
    "normal": (lambda: normal(3), (3,)),
    "mixture": (
        lambda: D.MixtureSameFamily(
            D.Categorical(torch.ones(2)),
            D.Independent(
                D.Normal(torch.tensor([[-5.0, 0], [5.0, 0]]), torch.tensor([[0.3, 0.3], [0.3, 3]])),
                1,
            ),
        ),
        (2,),
    ),
    "its own sum": (summed, (3,)),
    "transformed": (lambda: D.TransformedDistribution(normal(2), [D.SigmoidTransform()]), (2,)),
    "thin": (
        lambda: D.TransformedDistribution(
            D.Independent(D.Normal(torch.zeros(2), torch.tensor([1.0, 0.02])), 1),
            [D.TanhTransform()],
        ),
        (2,),
    ),
    "heavy tails": (
        lambda: D.Independent(D.LogNormal(torch.zeros(3), 2 * torch.ones(3)), 1),
        (3,),
    ),
    "no tails that a grid holds": (
        lambda: D.Independent(D.Cauchy(torch.zeros(2), torch.ones(2)), 1),
        (2,),
    ),
    "angle": (lambda: OnACircle(1), (1,)),
    "angles": (lambda: OnACircle(2), (2,)),
    "many angles": (lambda: OnACircle(5), (5,)),
    "flat": (lambda: D.Independent(D.Uniform(torch.zeros(2), torch.ones(2)), 1), (2,)),
}

#: name -> the flow, the shape, a check that must fail, a cause that may be named first or none.
WRONG = {
    "log-det subtracted": (lambda: coupled(sign=-1), (4,), "samples_follow_log_prob", None),
    "log-det missing": (lambda: coupled(sign=0), (4,), "samples_follow_log_prob", None),
    "log-det of the map to the base subtracted": (
        lambda: summed(1),
        (3,),
        "log_prob_is_base_plus_logdet",
        "log_prob_of_parts",
    ),
    "log-det of the map to the base missing": (
        lambda: summed(0),
        (3,),
        "log_prob_is_base_plus_logdet",
        "log_prob_of_parts",
    ),
    "log-det of a transform": (
        lambda: D.TransformedDistribution(normal(2), [Stretched()]),
        (2,),
        "log_prob_is_base_plus_logdet",
        "log_prob_of_parts",
    ),
    "temperature": (
        lambda: coupled(temperature=0.9),
        (4,),
        "samples_follow_log_prob",
        "samples_too_narrow",
    ),
    "temperature above one": (
        lambda: coupled(2, temperature=1.15),
        (2,),
        "samples_follow_log_prob",
        "samples_too_wide",
    ),
    "another base": (
        lambda: coupled(base=1.2),
        (4,),
        "samples_follow_log_prob",
        "samples_too_narrow",
    ),
    "tails cut off": (lambda: coupled(cut=2.0), (4,), "samples_follow_log_prob", None),
    "angles too close together": (
        lambda: OnACircle(2, concentration=1.3),
        (2,),
        "samples_follow_log_prob",
        None,
    ),
    "constant missing for angles": (
        lambda: OnACircle(2, offset=0.5),
        (2,),
        "log_prob_integrates_to_one",
        "log_prob_constant",
    ),
    "constant missing": (
        lambda: coupled(2, lacks_constant=True),
        (2,),
        "log_prob_integrates_to_one",
        "log_prob_constant",
    ),
    "dequantised twice": (
        lambda: coupled(offset=-4 * math.log(256)),
        (4,),
        "samples_follow_log_prob",
        "log_prob_constant",
    ),
    "an event dimension is forgotten": (
        lambda: D.Normal(torch.zeros(3), torch.ones(3)),
        (3,),
        "log_prob_of_samples_is_finite",
        None,
    ),
    "temperature ignored": (DeafToTemperature, (4,), "temperature_is_used", None),
    "samples of another dtype": (Widened, (4,), "log_prob_takes_samples", None),
    "unseeded": (Unseeded, (4,), "samples_are_reproducible", None),
    "batch in log_prob": (BatchNormed, (4,), "log_prob_rows_are_independent", None),
    "gradient cut": (Detached, (4,), "gradient_of_log_prob", None),
    "samples are NaN": (NotFinite, (4,), "log_prob_of_samples_is_finite", None),
}
