"""Slow, obvious references: matrices by index formula, Jacobians, multi-precision log-dets."""

from emcheck.oracle.autoregressive import (
    AutoregressiveDefinition as AutoregressiveDefinition,
)
from emcheck.oracle.by_differences import Differences as Differences
from emcheck.oracle.by_differences import jacobian_by_differences as jacobian_by_differences
from emcheck.oracle.composite import ChainDefinition as ChainDefinition
from emcheck.oracle.composite import InverseDefinition as InverseDefinition
from emcheck.oracle.definition import Definition as Definition
from emcheck.oracle.definition import Running as Running
from emcheck.oracle.exponential import ExponentialDefinition as ExponentialDefinition
from emcheck.oracle.gates import CENTRED as CENTRED
from emcheck.oracle.gates import EXPONENTIAL as EXPONENTIAL
from emcheck.oracle.gates import SIGMOID as SIGMOID
from emcheck.oracle.jacobian import central_difference as central_difference
from emcheck.oracle.jacobian import explicit_jacobian as explicit_jacobian
from emcheck.oracle.lanczos import Probed as Probed
from emcheck.oracle.lanczos import probe_jacobian as probe_jacobian
from emcheck.oracle.linear import Componentwise as Componentwise
from emcheck.oracle.logdets import DenseLogdet as DenseLogdet
from emcheck.oracle.logdets import DiagonalLogdet as DiagonalLogdet
from emcheck.oracle.lowrank import LowRankDefinition as LowRankDefinition
from emcheck.oracle.lowrank import LowRankFactor as LowRankFactor
from emcheck.oracle.matrices import ConvFactor as ConvFactor
from emcheck.oracle.matrices import householder as householder
from emcheck.oracle.matrices import masked as masked
from emcheck.oracle.matrices import pointwise as pointwise
from emcheck.oracle.matrices import squeeze_index as squeeze_index
from emcheck.oracle.network import CouplingDefinition as CouplingDefinition
from emcheck.oracle.normwise import FourierDefinition as FourierDefinition
from emcheck.oracle.normwise import PointwiseDefinition as PointwiseDefinition
from emcheck.oracle.orthogonal import OrthogonalDefinition as OrthogonalDefinition
from emcheck.oracle.permutation import PermutationDefinition as PermutationDefinition
from emcheck.oracle.precision import as_extended as as_extended
from emcheck.oracle.precision import slogdet as slogdet
from emcheck.oracle.precision import to_numpy as to_numpy
from emcheck.oracle.reference import ReferenceDefinition as ReferenceDefinition
from emcheck.oracle.spectrum import condition_number as condition_number
from emcheck.oracle.spectrum import singular_extremes as singular_extremes
