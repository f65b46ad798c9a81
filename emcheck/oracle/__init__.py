"""Slow, obvious references: matrices by index formula, Jacobians, multi-precision log-dets."""

from emcheck.oracle.composite import ChainDefinition as ChainDefinition
from emcheck.oracle.composite import InverseDefinition as InverseDefinition
from emcheck.oracle.definition import Definition as Definition
from emcheck.oracle.definition import Running as Running
from emcheck.oracle.jacobian import central_difference as central_difference
from emcheck.oracle.jacobian import explicit_jacobian as explicit_jacobian
from emcheck.oracle.linear import Componentwise as Componentwise
from emcheck.oracle.linear import FourierDefinition as FourierDefinition
from emcheck.oracle.linear import PointwiseDefinition as PointwiseDefinition
from emcheck.oracle.logdets import DenseLogdet as DenseLogdet
from emcheck.oracle.logdets import DiagonalLogdet as DiagonalLogdet
from emcheck.oracle.matrices import ConvFactor as ConvFactor
from emcheck.oracle.matrices import householder as householder
from emcheck.oracle.matrices import masked as masked
from emcheck.oracle.matrices import pointwise as pointwise
from emcheck.oracle.matrices import squeeze_index as squeeze_index
from emcheck.oracle.network import CouplingDefinition as CouplingDefinition
from emcheck.oracle.permutation import PermutationDefinition as PermutationDefinition
from emcheck.oracle.precision import as_extended as as_extended
from emcheck.oracle.precision import slogdet as slogdet
from emcheck.oracle.precision import to_numpy as to_numpy
from emcheck.oracle.probes import Probed as Probed
from emcheck.oracle.probes import probe_jacobian as probe_jacobian
from emcheck.oracle.reference import ReferenceDefinition as ReferenceDefinition
from emcheck.oracle.spectrum import condition_number as condition_number
from emcheck.oracle.spectrum import singular_extremes as singular_extremes
