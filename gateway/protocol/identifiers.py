"""Ids that we mint, and the identifiers of persons, organisations and banks; `SCHEMES` lists every scheme.

Every `parse_<scheme>` takes the text, returns its normal form and raises `MalformedInputError("identifier.<scheme>")`
and nothing else. Check digits are computed, never looked up. Full-width digits and blanks are refused: an adapter
normalises them first and logs that it did. A valid number says nothing about who holds it: HKID prefixes eleven
letters apart share a check digit, so persons are never matched by digits and check digit alone.
"""

import base64
import re
import secrets
import uuid  # noqa: TID251 ids are minted here
from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType

from gateway.protocol.identifier_checks import (
    ascii_upper,
    gb_11643_check,
    gb_11714_check,
    gb_32100_check,
    hkid_check,
    mod_11_10_check,
    mod_97_10_check,
    of_form,
    refuse,
)
from gateway.protocol.product_identifiers import (
    parse_e_receipt,
    parse_gtin14,
    parse_hk_drug_reg,
    parse_icd9cm3_cn_nhsa,
    parse_icd10_cn_nhsa,
    parse_nhsa_drug,
    parse_nhsa_institution,
    parse_nhsa_service,
    parse_nmpa_device,
    parse_nmpa_drug,
    parse_vhis_cert,
)
from gateway.protocol.udi import parse_udi_gs1, parse_udi_hibc, parse_udi_ma

_HKID = re.compile(r"([A-Za-z]{1,2}[0-9]{6})(?:([0-9Aa])|\(([0-9Aa])\))")
_CN_ID = re.compile(r"[1-9][0-9]{16}[0-9Xx]")
_USCC = re.compile(r"[0-9ANY][0-9A-HJ-NPQRTUWXY][0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}")
_ORG_CODE = re.compile(r"[0-9A-Z]{8}[0-9X]")


def mint(kind: str) -> str:
    """Mint an id of 128 random bits, e.g. `claim_` and 26 characters of lower-case base32 (RFC 4648)."""
    return f"{kind}_{base64.b32encode(secrets.token_bytes(16)).decode().rstrip('=').lower()}"


def mint_uuid4() -> str:
    """Mint a version 4 UUID (RFC 9562) in lower case, as ISO 20022 writes a UETR."""
    return str(uuid.uuid4())


def parse_hkid(text: str) -> str:
    """Read a Hong Kong identity card number, also as printed, `A123456(3)`, and in lower case; returns `A1234563`."""
    match = _HKID.fullmatch(text)
    if match is None:
        refuse("hkid")
    body, check = match[1].upper(), (match[2] or match[3]).upper()
    if check != hkid_check(body):
        refuse("hkid")
    return body + check


def parse_cn_id_gb11643(text: str) -> str:
    """Read a mainland identity or residence permit number (GB 11643-1999); a trailing `x` becomes `X`.

    81, 82 and 83 begin the residence permits of Hong Kong, Macao and Taiwan residents. The birth date must exist.
    """
    number = text.replace("x", "X")
    if _CN_ID.fullmatch(text) is None or number[17] != gb_11643_check(number[:17]):
        refuse("cn_id_gb11643")
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        refuse("cn_id_gb11643")
    return number


parse_hrp_format_only = of_form(
    "hrp_format_only",
    r"[HM][0-9]{8}(?:[0-9]{2})?",
    lambda text: re.sub(r"\(([0-9]{2})\)$", r"\1", ascii_upper(text)),
)
"""Home Return Permit: H or M and the lifelong number, perhaps with two digits of the issue; no check digit exists.

The first nine characters name the holder; the issue count changes with every renewal, and may stand in brackets.
"""


def parse_uscc_gb32100(text: str, *, strict: bool = True) -> str:
    """Read a unified social credit code (GB 32100-2015).

    `strict` also demands the check digit of the organisation code that it carries (GB 11714).
    """
    text = ascii_upper(text)
    if _USCC.fullmatch(text) is None or text[17] != gb_32100_check(text[:17]):
        refuse("uscc_gb32100")
    if strict and text[16] != gb_11714_check(text[8:16]):
        refuse("uscc_gb32100")
    return text


def parse_org_code_gb11714(text: str) -> str:
    """Read an organisation code of nine characters (GB 11714-1997), also as printed, with a hyphen before the check."""
    text = re.sub(r"^(.{8})-(.)$", r"\1\2", ascii_upper(text))
    if _ORG_CODE.fullmatch(text) is None or text[8] != gb_11714_check(text[:8]):
        refuse("org_code_gb11714")
    return text


def parse_cnaps(text: str) -> str:
    """Read a bank branch code of the China National Advanced Payment System: 12 digits, ISO 7064 MOD 11,10."""
    if re.fullmatch(r"[0-9]{12}", text) is None or text[11] != mod_11_10_check(text[:11]):
        refuse("cnaps")
    return text


def parse_lei(text: str) -> str:
    """Read a legal entity identifier (ISO 17442): 18 characters and two check digits, 02 to 98."""
    if re.fullmatch(r"[0-9A-Z]{18}[0-9]{2}", text) is None or text[18:] != mod_97_10_check(text[:18]):
        refuse("lei")
    return text


parse_bic = of_form("bic", r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
"""Business identifier code (ISO 9362:2014) by form, 8 or 11 characters, as ISO 20022 writes it; no check digit."""

parse_uetr = of_form("uetr", r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}")
"""Unique end-to-end transaction reference: a version 4 UUID in lower case (ISO 20022 UUIDv4Identifier)."""


SCHEMES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "hkid": parse_hkid,
        "cn_id_gb11643": parse_cn_id_gb11643,
        "hrp_format_only": parse_hrp_format_only,
        "uscc_gb32100": parse_uscc_gb32100,
        "org_code_gb11714": parse_org_code_gb11714,
        "gtin14": parse_gtin14,
        "udi_gs1": parse_udi_gs1,
        "udi_hibc": parse_udi_hibc,
        "udi_ma": parse_udi_ma,
        "hk_drug_reg": parse_hk_drug_reg,
        "vhis_cert": parse_vhis_cert,
        "nhsa_institution": parse_nhsa_institution,
        "nhsa_drug": parse_nhsa_drug,
        "nhsa_service": parse_nhsa_service,
        "icd10_cn_nhsa": parse_icd10_cn_nhsa,
        "icd9cm3_cn_nhsa": parse_icd9cm3_cn_nhsa,
        "nmpa_device": parse_nmpa_device,
        "nmpa_drug": parse_nmpa_drug,
        "e_receipt": parse_e_receipt,
        "cnaps": parse_cnaps,
        "lei": parse_lei,
        "bic": parse_bic,
        "uetr": parse_uetr,
    }
)
"""Scheme name to parser: the names that `identifier.<scheme>` errors and FHIR identifier systems carry."""
