"""Composers of layers. One line exports a composer and registers it with the suite."""

from emcheck.flows.chain import Chain as Chain
from emcheck.flows.glow import Glow as Glow
from emcheck.flows.inverse import Inverse as Inverse
