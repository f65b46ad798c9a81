"""Self-tests: is the linear algebra of this installation correct?

Before anything is judged with a batched LU, an FFT or a convolution, ``diagnose`` compares
them with NumPy, exact determinants and multi-precision, at the thread count in use and each
in a process of its own with a time limit, because the known fault of batched LU (pytorch
issues 142815 and 141358) gives silently wrong numbers and can hang. ``trusted`` turns the
outcome into the set of capabilities that an oracle may rely on.
"""

from emcheck.doctor.canary import Canary as Canary
from emcheck.doctor.run import diagnose as diagnose
from emcheck.doctor.self_tests import CAPABILITIES as CAPABILITIES
from emcheck.doctor.self_tests import NAMES as NAMES
from emcheck.doctor.self_tests import trusted as trusted
