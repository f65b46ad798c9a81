"""The released libraries of normalizing flows, layer by layer, for the field survey."""

from studies.survey.entries import LIBRARIES as LIBRARIES
from studies.survey.entries import SURVEYED as SURVEYED
from studies.survey.entries import Entry as Entry
from studies.survey.entries import entries as entries
