"""What an edge or core demands of a party's manifest when it takes it, beyond what its model says.

Models stay as wide as they ever were, so that stored messages remain readable. Where a message is authored or accepted,
every field in clear has a table or an alphabet: no name, number or free text of a person travels outside the dossier.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from gateway.protocol.claim_terms import LINES_MAX
from gateway.protocol.differences import answered_by, difference_faults
from gateway.protocol.errors import Fault, InvalidInputError, MalformedInputError
from gateway.protocol.exchange import Manifest
from gateway.protocol.identifiers import SCHEMES
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.reasons import REASONS
from gateway.protocol.registry import Directory

REVISION_MAX = 1_000_000
DECISION_VERSION_MAX = 9999

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,127}")
_UUID = re.compile(r"(?:urn:uuid:|msg_)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_MOBILE = re.compile(r"(?:86)?1[3-9][0-9]{9}")
"""A mainland mobile number (Ministry of Industry and Information Technology, numbering plan)."""
_SHORT_NUMBER = re.compile(r"[A-Z]{0,2}[0-9]{6,18}[0-9AX]?")
"""What every number of a person looks like; tokens of machines are longer, and most are sorted out here."""
_CARD_WITHOUT_CHECK = re.compile(r"[A-Za-z]{1,2}[0-9]{6}")
_OF_PERSONS = ("hkid", "cn_id_gb11643", "hrp_format_only")

Check = Callable[[Any], str | None]
"""Takes a field's value; returns the code of what is wrong with it, or None."""


def _id_fault(text: str) -> str | None:
    if _ID.fullmatch(text) is None:
        return "field.not-an-id"
    if _UUID.fullmatch(text):
        return None
    return "field.names-a-person" if names_a_person(text) else None


def names_a_person(text: str) -> bool:
    """Tell whether a text, or a part of it between separators, is the number of an identity document or a telephone.

    A Hong Kong identity card is written with its check digit apart, A123456(3), hence two parts may be one.
    """
    parts = _SEPARATORS.split(text)
    tokens = {*parts, "".join(parts), *(part + check for part, check in pairwise(parts) if _is_card(part, check))}
    return any(_is_of_a_person(token.upper()) for token in tokens)


def _is_card(part: str, check: str) -> bool:
    return _CARD_WITHOUT_CHECK.fullmatch(part) is not None and len(check) == 1


def _is_of_a_person(token: str) -> bool:
    if _SHORT_NUMBER.fullmatch(token) is None:
        return False
    return _MOBILE.fullmatch(token) is not None or any(_parses(scheme, token) for scheme in _OF_PERSONS)


def _parses(scheme: str, token: str) -> bool:
    try:
        SCHEMES[scheme](token)
    except MalformedInputError:
        return False
    return True


def _reason_fault(code: str) -> str | None:
    return None if code in REASONS else "reason.unknown"


def _at_most(limit: int) -> Check:
    def check(number: int) -> str | None:
        return "field.less-than-equal" if number > limit else "field.greater-than-equal" if number < 0 else None

    return check


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "msg_id": _id_fault,
        "case_id": _id_fault,
        "claim_id": _id_fault,
        "in_reply_to": _id_fault,
        "claim_token": _id_fault,
        "receipt_tokens": _id_fault,
        "guarantee_id": _id_fault,
        "class_code": _reason_fault,
        "based_on": _at_most(REVISION_MAX),
        "decision_version": _at_most(DECISION_VERSION_MAX),
        "lines": _at_most(LINES_MAX - 1),
        "count": _at_most(LINES_MAX),
    }
)
"""Field name → what is checked of it, in whichever manifest and at whichever depth it stands."""

PARTIES = frozenset(("sender", "recipients", "carrier", "administrator", "payer"))
"""Fields that hold the code of a party in the registry release."""

ELSEWHERE = MappingProxyType(
    {
        "filing_ref": "core compares it with the filed route",
        "differences": "a closed set, `differences.py`",
    }
)
"""Text fields whose table is held elsewhere."""


def acceptance_faults(manifest: Manifest, *, kind: str, parties: Collection[str] | None) -> list[Fault]:
    """Name every clear field of a manifest that no table and no alphabet allows.

    `kind` is the sender's in the registry; `parties` are the registry's codes, None where an author has none at hand.
    """
    faults = [
        Fault(code, pointer)
        for pointer, name, value in _leaves(manifest, "")
        if (code := _fault_of(name, value, parties)) is not None
    ]
    if isinstance(manifest, DisputedManifest):
        faults += difference_faults(manifest, answered_by(kind))
    return faults


def check_acceptance(manifest: Manifest, directory: Directory) -> None:
    """Refuse a newly arrived manifest with every fault named: `InvalidInputError("message.invalid")`."""
    faults = acceptance_faults(manifest, kind=directory.party(manifest.sender).kind, parties=directory.parties)
    if faults:
        raise InvalidInputError("message.invalid", faults=faults)


def _fault_of(name: str, value: Any, parties: Collection[str] | None) -> str | None:
    if name in PARTIES and parties is not None:
        return None if value in parties else "party.unknown"
    return CHECKS[name](value) if name in CHECKS else None


def _leaves(message: BaseModel, pointer: str) -> Iterator[tuple[str, str, Any]]:
    """Yield place, field name and value of everything that is checked here, at any depth, and not absent."""
    for name in type(message).model_fields:
        value = getattr(message, name)
        first = value[0] if isinstance(value, tuple) and value else value
        # thousands of line amounts have no table of their own
        if name in CHECKS or name in PARTIES or isinstance(first, BaseModel):
            yield from _leaves_of(value, f"{pointer}/{name}", name)


def _leaves_of(value: Any, pointer: str, name: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, BaseModel):
        yield from _leaves(value, pointer)
    elif isinstance(value, tuple):
        for index, member in enumerate(value):
            yield from _leaves_of(member, f"{pointer}/{index}", name)
    elif value is not None:
        yield pointer, name, value
