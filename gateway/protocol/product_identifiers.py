"""Identifiers of products, plans, institutions, codes and papers: forms, and check digits where they exist.

Every `parse_<scheme>` takes the text, returns its normal form and raises `MalformedInputError("identifier.<scheme>")`.
Blanks, full-width digits and other habits of hospital systems are normalised by the adapter before.
"""

import re

from gateway.protocol.identifier_checks import ascii_lower, ascii_upper, gs1_check, of_form, refuse

_PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"

parse_hk_drug_reg = of_form("hk_drug_reg", r"HK-[0-9]{5}", ascii_upper)
"""Hong Kong pharmaceutical product registration (Pharmacy and Poisons Ordinance, Cap. 138)."""

parse_vhis_cert = of_form("vhis_cert", r"[SF][0-9]{5}-[0-9]{2}-[0-9]{3}-[0-9]{2}", ascii_upper)
"""Certified plan of the Voluntary Health Insurance Scheme: S Standard, F Flexi."""

parse_nhsa_institution = of_form("nhsa_institution", r"[HP][0-9]{11}", ascii_upper)
"""National insurance code of an institution: H hospital or P pharmacy, six-digit region, five digits."""

parse_nhsa_drug = of_form("nhsa_drug", r"X[A-Z][0-9]{2}[A-Z]{2}[A-Z][0-9]{3}[A-Z][0-9]{3}[0-9]{9}", ascii_upper)
"""National insurance code of a western drug, 23 characters: class, name, form, specification, maker."""

parse_nhsa_service = of_form("nhsa_service", r"[0-9]{15}-[0-9A-Z]{9,34}", ascii_upper)
"""National insurance code of a service item; the whole code fits the 50 characters of the fee line field."""

parse_icd10_cn_nhsa = of_form(
    "icd10_cn_nhsa",
    r"[A-Z][0-9]{2}\.([0-9]{3}|x[0-9]{2}|[0-9]x[0-9]|[0-9]{2}x)(x[0-9]{3})?",
    lambda text: ascii_upper(text[:1]) + ascii_lower(text[1:]),
)
"""ICD-10 diagnosis, insurance version 2.0; `x` stands for an empty place.

The national tables write it small (I10.x00x002); a capital X, as the WHO edition and ICD-10-CM write placeholders, is
the same character, so `I10.X00X002` becomes `I10.x00x002`.
"""

parse_icd9cm3_cn_nhsa = of_form("icd9cm3_cn_nhsa", r"[0-9]{2}\.[0-9]{2,4}(x[0-9]{3})?", ascii_lower)
"""ICD-9-CM-3 operation, insurance version; `x` is small, as in ICD-10."""

parse_nmpa_device = of_form("nmpa_device", rf"[国{_PROVINCES}]械注[准进许]20[0-9]{{2}}[23][0-9]{{2}}[0-9]{{4}}")
"""Device registration: 准 domestic, 进 imported, 许 Hong Kong, Macao or Taiwan; year, class, category, serial."""

parse_nmpa_drug = of_form("nmpa_drug", r"国药准字[HZSBTJ][JC]?[0-9]{8}", ascii_upper)
"""Drug approval number; J imported, C from Hong Kong, Macao or Taiwan."""

parse_e_receipt = of_form("e_receipt", r"[0-9]{8}\|[0-9]{10}\|[0-9A-Za-z]{6}")
"""Fiscal e-receipt `code|number|check`; the check code is looked up at the issuer, never computed; its case stays."""


def parse_gtin14(text: str) -> str:
    """Read a 14-digit Global Trade Item Number with its mod 10 check digit."""
    if not is_gtin14(text):
        refuse("gtin14")
    return text


def is_gtin14(text: str) -> bool:
    """Say whether 14 digits end in their mod 10 check."""
    return re.fullmatch(r"[0-9]{14}", text) is not None and text[13] == gs1_check(text[:13])
