"""Identifiers of products, plans, institutions, codes and papers: forms, and check digits where they exist.

Every `parse_<scheme>` takes the text, returns its normal form and raises `MalformedInputError("identifier.<scheme>")`.
Blanks, full-width digits and other habits of hospital systems are normalised by the adapter before.
"""

import re
from datetime import date

from gateway.protocol.identifier_checks import gs1_check, of_form, refuse

_UDI_ELEMENT = re.compile(r"\((01|10|11|17|21)\)([!\"%&'*+,\-./0-9:;<=>?A-Z_a-z]{1,20})")
"""One GS1 element in bracket form: GS1 character set 82, without brackets, which would be ambiguous."""

_PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"

parse_hk_drug_reg = of_form("hk_drug_reg", r"HK-[0-9]{5}")
"""Hong Kong pharmaceutical product registration (Pharmacy and Poisons Ordinance, Cap. 138)."""

parse_vhis_cert = of_form("vhis_cert", r"[SF][0-9]{5}-[0-9]{2}-[0-9]{3}-[0-9]{2}")
"""Certified plan of the Voluntary Health Insurance Scheme: S Standard, F Flexi."""

parse_nhsa_institution = of_form("nhsa_institution", r"[HP][0-9]{11}")
"""National insurance code of an institution: H hospital or P pharmacy, six-digit region, five digits."""

parse_nhsa_drug = of_form("nhsa_drug", r"X[A-Z][0-9]{2}[A-Z]{2}[A-Z][0-9]{3}[A-Z][0-9]{3}[0-9]{9}")
"""National insurance code of a western drug, 23 characters: class, name, form, specification, maker."""

parse_nhsa_service = of_form("nhsa_service", r"[0-9]{15}-[0-9A-Z]{9,34}")
"""National insurance code of a service item; the whole code fits the 50 characters of the fee line field."""

parse_icd10_cn_nhsa = of_form("icd10_cn_nhsa", r"[A-Z][0-9]{2}\.([0-9]{3}|x[0-9]{2}|[0-9]x[0-9]|[0-9]{2}x)(x[0-9]{3})?")
"""ICD-10 diagnosis, insurance version 2.0; `x` stands for an empty place."""

parse_icd9cm3_cn_nhsa = of_form("icd9cm3_cn_nhsa", r"[0-9]{2}\.[0-9]{2,4}(x[0-9]{3})?")
"""ICD-9-CM-3 operation, insurance version."""

parse_nmpa_device = of_form("nmpa_device", rf"[国{_PROVINCES}]械注[准进许]20[0-9]{{2}}[23][0-9]{{2}}[0-9]{{4}}")
"""Device registration: 准 domestic, 进 imported, 许 Hong Kong, Macao or Taiwan; year, class, category, serial."""

parse_nmpa_drug = of_form("nmpa_drug", r"国药准字[HZSBTJ][JC]?[0-9]{8}")
"""Drug approval number; J imported, C from Hong Kong, Macao or Taiwan."""

parse_e_receipt = of_form("e_receipt", r"[0-9]{8}\|[0-9]{10}\|[0-9A-Za-z]{6}")
"""Fiscal e-receipt `code|number|check`; the check code is looked up at the issuer, never computed."""


def parse_gtin14(text: str) -> str:
    """Read a 14-digit Global Trade Item Number with its mod 10 check digit."""
    if not _is_gtin14(text):
        refuse("gtin14")
    return text


def parse_udi_gs1(text: str) -> str:
    """Read a GS1 unique device identifier in bracket form: `(01)` GTIN first, then 10, 11, 17 and 21 at most once.

    10 is the lot, 21 the serial number, 11 (made) and 17 (expires) are YYMMDD dates that exist; day 00 means the
    last of the month (GS1 General Specifications, section 3). Identifiers of other issuers (MA, Alibaba Health) are
    not of this scheme.
    """
    elements = _UDI_ELEMENT.findall(text)
    names = [name for name, _ in elements]
    whole = "".join(f"({name}){value}" for name, value in elements)
    if whole != text or names[:1] != ["01"] or len(set(names)) != len(names):
        refuse("udi_gs1")
    if not all(_is_udi_value(name, value) for name, value in elements):
        refuse("udi_gs1")
    return text


def _is_udi_value(name: str, value: str) -> bool:
    if name == "01":
        return _is_gtin14(value)
    return name in {"10", "21"} or _is_gs1_date(value)


def _is_gtin14(text: str) -> bool:
    return re.fullmatch(r"[0-9]{14}", text) is not None and text[13] == gs1_check(text[:13])


def _is_gs1_date(text: str) -> bool:
    if re.fullmatch(r"[0-9]{6}", text) is None:
        return False
    try:
        date(2000 + int(text[:2]), int(text[2:4]), int(text[4:]) or 1)
    except ValueError:
        return False
    return True
