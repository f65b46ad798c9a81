"""Invertible layers of other libraries as layers of the contract; a library loads when used."""

from emcheck.adapters.choose import adapt as adapt
from emcheck.adapters.choose import conditional as conditional
from emcheck.adapters.choose import is_of_library as is_of_library
from emcheck.adapters.choose import lacks_by_design as lacks_by_design
from emcheck.adapters.core import Adapted as Adapted
from emcheck.adapters.core import Logdet as Logdet
from emcheck.adapters.core import NotALayer as NotALayer
from emcheck.adapters.core import Sampler as Sampler
from emcheck.adapters.core import unadapted as unadapted
