"""The reader's doubts as claims that can be run and can fail: one file each."""

from collections.abc import Mapping

from studies.claims import (
    almost_3x3,
    better_than_1x1,
    conditioning,
    matrix_product,
    plu_qr,
    replace_1x1,
    whole_feature_map,
)
from studies.claims.core import Claim as Claim
from studies.claims.core import Evidence as Evidence
from studies.claims.core import Fact as Fact

_MODULES = (
    matrix_product,
    whole_feature_map,
    better_than_1x1,
    plu_qr,
    almost_3x3,
    replace_1x1,
    conditioning,
)

#: name -> claim, in the order of their letters.
CLAIMS: Mapping[str, Claim] = {module.CLAIM.name: module.CLAIM for module in _MODULES}


def chosen(names: list[str]) -> list[Claim]:
    """The claims of these names or letters, all of them if there are none.

    Raises:
        ValueError: an unknown name.
    """
    by_letter = {claim.letter: claim for claim in CLAIMS.values()}
    known = dict(CLAIMS) | by_letter
    for name in names:
        if name not in known:
            told = ", ".join(f"{claim.letter} ({claim.name})" for claim in CLAIMS.values())
            raise ValueError(f"expected a claim among {told}, got {name!r}")
    return list({known[name].name: known[name] for name in names}.values()) or [*CLAIMS.values()]
