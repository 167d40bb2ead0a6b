"""What one bank's guide leaves open about ISO 20022 over HTTP: its address, who bears charges, where /CSTRDR/ goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from gateway.protocol.errors import MalformedInputError
from settlement.iso20022.pain001 import RmbPurposeField
from settlement.payment import ChargeBearer

_TEXTS = ("base_url", "token")
_CHARGE_BEARERS: Mapping[str, ChargeBearer] = {"DEBT": "DEBT", "SHAR": "SHAR", "CRED": "CRED", "SLEV": "SLEV"}
_RMB_PURPOSE_FIELDS: Mapping[str, RmbPurposeField | None] = {
    "unset": None,
    "RgltryRptg": "RgltryRptg",
    "InstrForCdtrAgt": "InstrForCdtrAgt",
}
_TIMEOUT_S_MAX = 86_400


@dataclass(frozen=True, slots=True)
class Options:
    """`token` is the secret of the bank's API and stays out of `repr`."""

    base_url: str
    token: str = field(repr=False)
    charge_bearer: ChargeBearer
    rmb_purpose_field: RmbPurposeField | None
    """Rule `rmb.purpose.field`: which element carries /CSTRDR/; None while the bank's guide is not entered."""
    timeout_s: float

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Self:
        """Read them: every field present, the RMB field as `"unset"` or an element's name; `MalformedInputError`."""
        if set(written) != {*_TEXTS, "charge_bearer", "rmb_purpose_field", "timeout_s"}:
            raise MalformedInputError("bank-profile.malformed")
        texts = (*_TEXTS, "charge_bearer", "rmb_purpose_field")
        if not all(isinstance(written[name], str) and written[name] for name in texts):
            raise MalformedInputError("bank-profile.malformed")
        bearer, purpose, timeout_s = (written[name] for name in ("charge_bearer", "rmb_purpose_field", "timeout_s"))
        if bearer not in _CHARGE_BEARERS or purpose not in _RMB_PURPOSE_FIELDS:
            raise MalformedInputError("bank-profile.malformed")
        if type(timeout_s) is not int or not 0 < timeout_s <= _TIMEOUT_S_MAX:
            raise MalformedInputError("bank-profile.malformed")
        return cls(
            base_url=written["base_url"],
            token=written["token"],
            charge_bearer=_CHARGE_BEARERS[bearer],
            rmb_purpose_field=_RMB_PURPOSE_FIELDS[purpose],
            timeout_s=float(timeout_s),
        )
