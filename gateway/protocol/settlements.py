"""The identity of what a decision obliges: derived, so that the same decision never obliges twice. Pure."""

from gateway.protocol.canonical import sha256_hex


def obligation_id(claim_id: str, decision_version: int) -> str:
    """Derive the id that is unique for ever for one decision of one claim."""
    return "obl_" + sha256_hex(f"{claim_id}\n{decision_version}".encode())[:32]
