"""Pinned keys of insurers: whatever a registry release says, a claim is sealed to no key that is not pinned here.

The operator writes the file from what each insurer handed over by another way: a JSON object of party code → list of
public keys (`x` as in RFC 8037), sign and seal keys alike.
"""

from collections.abc import Mapping
from pathlib import Path

from gateway.protocol.canonical import read_json_object
from gateway.protocol.errors import MalformedInputError, UnavailableError
from gateway.protocol.jose import PublicKey

Pins = Mapping[str, frozenset[str]]


def load_pins(path: Path) -> Pins:
    """Read the pins file; `MalformedInputError("pin.malformed")` for anything else."""
    found = read_json_object(path.read_bytes())
    for keys in found.values():
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise MalformedInputError("pin.malformed")
    return {party: frozenset(keys) for party, keys in found.items()}


def check_pinned(pins: Pins, party: str, key: PublicKey) -> None:
    """Refuse a key of `party` that is not pinned; the operator compares and pins it, then the same request works."""
    if key.x not in pins.get(party, frozenset()):
        raise UnavailableError("pin.unknown-key", retry_after_s=300)
