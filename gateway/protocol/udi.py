"""Unique device identifiers of the issuers whose layout is public, and the facts that stand inside them.

GS1: element strings (GS1 General Specifications, section 3). HIBC: Supplier Labeling Standard (ANSI/HIBC 2). MA:
中关村工信二维码技术研究院, issuing agency code MA of ISO/IEC 15459. The layout of Alibaba Health's codes is not public.
`recognise` names the issuer by how a text begins, so that a wrong identifier is refused by its scheme and not passed as
one that nobody knows.
"""

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from gateway.protocol.identifier_checks import ascii_upper, hibc_check, refuse
from gateway.protocol.product_identifiers import is_gtin14


@dataclass(frozen=True, slots=True)
class UdiFacts:
    """What an identifier says of the one device; None where it does not say.

    `month_only` means that `expires_on` is the last of a month because no day is given.
    """

    lot: str | None = None
    serial: str | None = None
    made_on: date | None = None
    expires_on: date | None = None
    month_only: bool = False


# GS1

_ELEMENT = re.compile(r"\((01|10|11|17|21)\)([!\"%&'*+,\-./0-9:;<=>?A-Z_a-z]{1,20})")
"""One GS1 element in bracket form: GS1 character set 82, without brackets, which would be ambiguous."""

_SCANNED = re.compile(r"(?:\][A-Za-z][0-9])?01([0-9]{14})((?:1[17][0-9]{6})*)((?:10|21).*)?", re.DOTALL)
"""The same without brackets, as a scanner gives it: fixed lengths first, then one element that runs to the end."""


def parse_udi_gs1(text: str) -> str:
    """Read a GS1 unique device identifier in bracket form: `(01)` GTIN first, then 10, 11, 17 and 21 at most once.

    10 is the lot, 21 the serial number, 11 (made) and 17 (expires) are YYMMDD dates that exist; day 00 means the
    last of the month (GS1 General Specifications, section 3). Identifiers of other issuers are not of this scheme.
    """
    elements = _ELEMENT.findall(text)
    names = [name for name, _ in elements]
    whole = "".join(f"({name}){value}" for name, value in elements)
    if whole != text or names[:1] != ["01"] or len(set(names)) != len(names):
        refuse("udi_gs1")
    if not all(_is_value(name, value) for name, value in elements):
        refuse("udi_gs1")
    return text


def parse_udi_gs1_scanned(text: str) -> str:
    """Read a GS1 identifier without brackets, perhaps behind a symbology mark such as `]d2`; `identifier.udi_gs1`.

    GTIN and dates are checked and put in brackets. Where lot or serial runs to the end nobody can say whether another
    element begins in it, so the text then stays as it was read.
    """
    match = _SCANNED.fullmatch(f"01{text}" if re.fullmatch(r"[0-9]{14}", text) else text)
    if match is None:
        refuse("udi_gs1")
    gtin, dates, rest = match.groups()
    bracketed = parse_udi_gs1(f"(01){gtin}" + re.sub(r"(..)(.{6})", r"(\1)\2", dates))
    return text if rest else bracketed


def _is_value(name: str, value: str) -> bool:
    if name == "01":
        return is_gtin14(value)
    return name in {"10", "21"} or _short_date(value) is not None


# HIBC

_HIBC = re.compile(r"\+[A-Z][A-Z0-9]{3}[A-Z0-9]{1,18}[0-9](?:/[0-9A-Z$+./ %-]+)?[0-9A-Z$+./ %_-]")
_HIBC_SECONDARY = re.compile(r"\$\$(\+)?(?:([01][0-9])([0-9]{2})|2([0-9]{6})|3([0-9]{6})|7)?([0-9A-Z.-]{0,18})")


def parse_udi_hibc(text: str) -> str:
    """Read a HIBC primary or concatenated structure, `+` labeller, item, unit, perhaps `/` and more, check character.

    The check is modulo 43 over everything before it; letters are capital. A check character that is a blank is printed
    `_`. A secondary structure alone names no device.
    """
    folded = ascii_upper(text)
    if _HIBC.fullmatch(folded) is None or folded[-1].replace("_", " ") != hibc_check(folded[:-1].replace("_", "")):
        refuse("udi_hibc")
    return folded


def _hibc_facts(text: str) -> UdiFacts:
    """Read lot or serial and expiry of the commonest secondary structures; of others nothing is said."""
    _, slash, secondary = text[:-1].partition("/")
    match = _HIBC_SECONDARY.fullmatch(secondary.partition("/")[0]) if slash else None
    if match is None:
        return UdiFacts()
    plus, month, year, american, backward, rest = match.groups()
    if month:
        expires = _short_date(f"{year}{month}00")
    elif american:
        expires = _short_date(american[4:] + american[:4])
    else:
        expires = _short_date(backward) if backward else None
    lot, serial = (None, rest or None) if plus else (rest or None, None)
    return UdiFacts(lot=lot, serial=serial, expires_on=expires, month_only=bool(month))


# MA

_MA = re.compile(r"MA\.[0-9]{3}\.M[0-9](?:\.[0-9A-Z]+)+")


def parse_udi_ma(text: str) -> str:
    """Read an MA identifier: country, industry, company and product between full stops, then production elements.

    `.L` is the lot, `.S` the serial number, `.D` the sterilisation lot; `.M` (made), `.V` and `.E` (valid until,
    expires) are dates of six or eight digits that exist. No check digit exists.
    """
    folded = ascii_upper(text)
    if _MA.fullmatch(folded) is None:
        refuse("udi_ma")
    for element in _ma_elements(folded):
        if element[0] in "MVE" and re.fullmatch(r"[0-9]{6}|[0-9]{8}", element[1:]) and _long_date(element[1:]) is None:
            refuse("udi_ma")
    return folded


def _ma_elements(text: str) -> list[str]:
    return text.split(".")[5:]


def _ma_facts(text: str) -> UdiFacts:
    elements = {element[0]: element[1:] for element in _ma_elements(text)}
    expires = elements.get("E") or elements.get("V")
    return UdiFacts(
        lot=elements.get("L"),
        serial=elements.get("S"),
        made_on=_long_date(elements["M"]) if "M" in elements else None,
        expires_on=_long_date(expires) if expires else None,
    )


# All issuers


def recognise(text: str) -> Callable[[str], str] | None:
    """Return the parser of the issuer that a text names by its beginning; None for an issuer that is not known here."""
    if text.startswith("("):
        return parse_udi_gs1
    if text.startswith("]") or re.match(r"01[0-9]", text) or re.fullmatch(r"[0-9]{14}", text):
        return parse_udi_gs1_scanned
    if text.startswith("+"):
        return parse_udi_hibc
    return parse_udi_ma if ascii_upper(text[:3]) == "MA." else None


def facts_of(text: str) -> UdiFacts:
    """Return the facts inside an identifier in its normal form, as far as its issuer's layout is known."""
    if text.startswith("+"):
        return _hibc_facts(text)
    if text.startswith("MA."):
        return _ma_facts(text)
    if text.startswith("("):
        elements = dict(_ELEMENT.findall(text))
    else:
        match = _SCANNED.fullmatch(text)
        elements = dict(re.findall(r"(..)(.{6})", match[2])) if match else {}
    return UdiFacts(
        lot=elements.get("10"),
        serial=elements.get("21"),
        made_on=_short_date(elements["11"]) if "11" in elements else None,
        expires_on=_short_date(elements["17"]) if "17" in elements else None,
        month_only=elements.get("17", "").endswith("00"),
    )


def _short_date(text: str) -> date | None:
    """Read YYMMDD of this century; day 00 is the last of the month."""
    return _long_date(text) if re.fullmatch(r"[0-9]{6}", text) else None


def _long_date(text: str) -> date | None:
    if re.fullmatch(r"[0-9]{6}|[0-9]{8}", text) is None:
        return None
    year, month, day = int(text[:-4]), int(text[-4:-2]), int(text[-2:])
    year += 2000 if len(text) == 6 else 0
    try:
        return date(year, month, day or calendar.monthrange(year, month)[1])
    except ValueError:
        return None
