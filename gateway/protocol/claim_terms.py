"""Words of a claim that messages, the registry and the hospital's bill share: closed sets, and how many lines."""

from enum import StrEnum

LINES_MAX = 5000


class BillingMode(StrEnum):
    DIRECT = "direct"
    """The insurer pays the hospital what it approves; the patient has not paid that part."""
    PAY_AND_CLAIM = "pay_and_claim"
    """The insured has paid the hospital and is paid by the insurer."""


class Payee(StrEnum):
    HOSPITAL = "hospital"
    INSURED = "insured"


class PaidKind(StrEnum):
    CASH = "cash"
    DEPOSIT = "deposit"
    BASIC_FUND = "basic_fund"
    PERSONAL_ACCOUNT = "personal_account"
    HUIMINBAO = "huiminbao"
    VOUCHER = "voucher"
    OTHER_INSURER = "other_insurer"


class PolicyKind(StrEnum):
    VHIS_STANDARD = "vhis_standard"
    VHIS_FLEXI = "vhis_flexi"
    GROUP_MEDICAL = "group_medical"
    INDIVIDUAL_MEDICAL = "individual_medical"


class Use(StrEnum):
    CLAIM = "claim"


class Mechanism(StrEnum):
    """The lawful way over the border, as the consent object names it."""

    GBA_SC = "gba_sc"
    NATIONAL_SC = "national_sc"
    CERTIFICATION = "certification"
    ASSESSMENT = "assessment"
    EXEMPT_CONTRACT = "exempt_contract"


class Eligibility(StrEnum):
    ELIGIBLE = "ELIGIBLE"
    INELIGIBLE = "INELIGIBLE"
    UNDETERMINED = "UNDETERMINED"
