"""The registry of layers: one line exports a layer and registers it with the suite."""

from emcheck.layers.actnorm import ActNorm2d as ActNorm2d
from emcheck.layers.affine_autoregressive import (
    AffineAutoregressive2d as AffineAutoregressive2d,
)
from emcheck.layers.autoregressive import AutoregressiveConv2d as AutoregressiveConv2d
from emcheck.layers.conv1x1 import Conv1x1 as Conv1x1
from emcheck.layers.conv1x1_plu import Conv1x1PLU as Conv1x1PLU
from emcheck.layers.conv1x1_qr import Conv1x1QR as Conv1x1QR
from emcheck.layers.corner import CornerConv2d as CornerConv2d
from emcheck.layers.corner import FourCornerConv2d as FourCornerConv2d
from emcheck.layers.coupling import AdditiveCoupling2d as AdditiveCoupling2d
from emcheck.layers.coupling import AffineCoupling2d as AffineCoupling2d
from emcheck.layers.emerging import EmergingConv2d as EmergingConv2d
from emcheck.layers.exponential import ExponentialConv2d as ExponentialConv2d
from emcheck.layers.orthogonal import OrthogonalConv2d as OrthogonalConv2d
from emcheck.layers.periodic import PeriodicConv2d as PeriodicConv2d
from emcheck.layers.permute import PermuteChannels as PermuteChannels
from emcheck.layers.split_prior import SplitPrior2d as SplitPrior2d
from emcheck.layers.squeeze import Squeeze2d as Squeeze2d
from emcheck.layers.woodbury import Woodbury2d as Woodbury2d
