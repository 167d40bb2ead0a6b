"""The institutions of each hospital: a bill of any other one is refused, whoever sends it.

The operator writes the national codes (`fixmedins_code`) into the role's settings, as `institutions.<hospital>`.
"""

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.product_identifiers import parse_nhsa_institution


def parse_institutions(text: str) -> frozenset[str]:
    """Read the national codes of one hospital's institutions, separated by blanks; at least one."""
    codes = frozenset(map(parse_nhsa_institution, text.split()))
    if not codes:
        raise MalformedInputError("identifier.nhsa_institution")
    return codes
