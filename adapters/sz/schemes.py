"""Which identifier scheme a field's text is of: asked by the reading for its normal form, by the checks for its rule.

Both ask here, so that no spelling is read as one scheme and checked as another. A text of no scheme that is known here
is returned as it is; what that means (a warning, or nothing) is the check's affair.
"""

import re
from collections.abc import Callable
from datetime import date

from adapters.sz.spelling import look_alikes, round_brackets
from gateway.protocol.errors import MalformedInputError
from gateway.protocol.identifier_checks import ascii_lower, ascii_upper
from gateway.protocol.identifiers import parse_cn_id_gb11643, parse_hrp_format_only
from gateway.protocol.product_identifiers import parse_nhsa_drug, parse_nhsa_service
from gateway.protocol.udi import recognise

Parser = Callable[[str], str]

MAINLAND_PERMITS = frozenset({"04", "05"})
"""Certificate types under which Home Return Permits, residence permits and passports of both places are written."""

_EIGHTEEN_TYPES = frozenset({"04", "05", "06", "07"})
"""Types whose holders may have an 18-character number: residence permits, and since 2023 the permanent residence card
of foreigners, whose layout and check are those of GB 11643."""

_HRP = re.compile(r"[HM][0-9]{3}.*", re.ASCII)
_EIGHTEEN = re.compile(r"[1-9][0-9]{16}.", re.ASCII)
_RESIDENCE_PERMIT = re.compile(r"8[123]0000.*", re.ASCII)
_PASSPORT = re.compile(r"[A-Z][0-9]{8}|[A-Z]{2}[0-9]{7}", re.ASCII)
"""Passports of the Hong Kong and Macao Special Administrative Regions, by form only."""

_CONSUMABLE_OR_PATENT = re.compile(r"(?:C[0-9A-Z]{19}(?:[0-9]{7})?|Z[0-9A-Z]{19})", re.ASCII)


def certificate_parser(kind: str, number: str) -> Parser | None:
    """Choose by type and form: residence permits come under any type, an 18-character number only under some."""
    upper = ascii_upper(number)
    if kind == "01" or _RESIDENCE_PERMIT.fullmatch(upper):
        return parse_cn_id_gb11643
    if kind in _EIGHTEEN_TYPES and _EIGHTEEN.fullmatch(upper):
        return parse_cn_id_gb11643
    if kind in MAINLAND_PERMITS and _HRP.fullmatch(upper):
        return parse_hrp_format_only
    return None


def certificate(kind: str) -> Parser:
    """Return the normal form of a certificate number of this type; letters are capital on every certificate."""

    def parse(text: str) -> str:
        parser = certificate_parser(kind, text)
        return ascii_upper(text) if parser is None else parser(text)

    return parse


def birth_date_in(kind: str, number: str) -> date | None:
    """Return the birth date inside a certificate number (GB 11643: characters 7 to 14), or None if it has none."""
    if certificate_parser(kind, number) is not parse_cn_id_gb11643 or refused(parse_cn_id_gb11643, number) is not None:
        return None
    return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))


def is_passport_form(number: str) -> bool:
    return _PASSPORT.fullmatch(number) is not None


def item_code_parser(code: str) -> Parser | None:
    """Choose by the first character: X a drug, a digit a service; no public source confirms other layouts."""
    first = ascii_upper(look_alikes(code[:1]))
    if first == "X":
        return parse_nhsa_drug
    return parse_nhsa_service if first[:1].isdecimal() else None


def item_code(text: str) -> str:
    """Return the normal form of a national item code; a code of the hospital's own stays as it is."""
    parser = item_code_parser(text)
    if parser is not None:
        return parser(text)
    upper = ascii_upper(text)
    return upper if is_consumable_or_patent(upper) else text


def is_consumable_or_patent(code: str) -> bool:
    return _CONSUMABLE_OR_PATENT.fullmatch(code) is not None


def udi(text: str) -> str:
    """Return the normal form of a device identifier."""
    spelling = round_brackets(text)
    parser = _udi_parser(spelling)
    return spelling if parser is None else parser(spelling)


def is_udi_checked(text: str) -> bool:
    """Say whether a device identifier is of an issuer whose layout is known here, however it is spelt."""
    return _udi_parser(round_brackets(text)) is not None


def _udi_parser(spelling: str) -> Parser | None:
    """Ask for the issuer, also by what look-alikes stand for: the parser then refuses them, and nothing passes."""
    return recognise(spelling) or recognise(look_alikes(spelling))


def hash_in_hex(text: str) -> str:
    return ascii_lower(text)


def digits(text: str) -> str:
    """Return a number without check digit as it is: its blanks have gone before."""
    return text


def refused(parse: Parser, text: str) -> str | None:
    """Return the code with which a scheme refuses a text, or None."""
    try:
        parse(text)
    except MalformedInputError as error:
        return error.code
    return None
