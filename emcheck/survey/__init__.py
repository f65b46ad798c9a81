"""The released libraries of normalizing flows, layer by layer, for the field survey."""

from emcheck.survey.entries import LIBRARIES as LIBRARIES
from emcheck.survey.entries import SURVEYED as SURVEYED
from emcheck.survey.entries import Entry as Entry
from emcheck.survey.entries import entries as entries
