"""The claims of a client assertion (RFC 7523 section 3): every one that is wrong, once the signature has verified.

Times are NumericDate (RFC 7519 section 2): seconds since 1970, with or without a fraction. Clocks may differ by a
minute; an assertion lives at most five.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from decimal import Decimal
from typing import Any

from gateway.protocol.errors import Fault

REQUIRED = ("iss", "sub", "aud", "exp", "jti")
ASSERTION_LIFE_S_MAX = 300
SKEW_S = 60
NUMERIC_DATE_MAX = 253_402_300_799
"""The last second of the year 9999."""
JTI_CHARACTERS_MAX = 200

_JTI = re.compile(rf"[!-~]{{1,{JTI_CHARACTERS_MAX}}}")


def faults_of_claims(
    claims: Mapping[str, Any], client_id: str, audiences: AbstractSet[str], now: datetime
) -> list[Fault]:
    """Name every claim that is missing, malformed or does not fit; the pointers are into the assertion's payload."""
    faults = [Fault("assertion.claim-missing", f"/{name}") for name in REQUIRED if name not in claims]
    faults += [
        Fault("assertion.other-client", f"/{name}")
        for name in ("iss", "sub")
        if name in claims and claims[name] != client_id
    ]
    if "aud" in claims:
        faults += _audience_faults(claims["aud"], audiences)
    for name in ("exp", "nbf", "iat"):
        if name in claims:
            faults += _time_faults(name, claims[name], now.timestamp())
    jti = claims.get("jti", "-")
    if not isinstance(jti, str) or _JTI.fullmatch(jti) is None:
        faults.append(Fault("assertion.claim-malformed", "/jti", {"minLength": 1, "maxLength": JTI_CHARACTERS_MAX}))
    return faults


def _audience_faults(value: Any, audiences: AbstractSet[str]) -> list[Fault]:
    """Check one audience or a list of them (RFC 7519 section 4.1.3): one of them must be ours."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names):
        return [Fault("assertion.claim-malformed", "/aud")]
    return [Fault("assertion.other-audience", "/aud")] if audiences.isdisjoint(names) else []


def _time_faults(name: str, value: Any, now: float) -> list[Fault]:
    if type(value) not in (int, Decimal) or not Decimal(value).is_finite() or not 0 <= value <= NUMERIC_DATE_MAX:
        return [Fault("assertion.time-malformed", f"/{name}")]
    ahead_s = float(value) - now
    if name == "exp" and ahead_s <= -SKEW_S:
        return [Fault("assertion.expired", "/exp")]
    if name == "exp" and ahead_s > ASSERTION_LIFE_S_MAX + SKEW_S:
        return [Fault("assertion.lives-too-long", "/exp")]
    if name != "exp" and ahead_s > SKEW_S:
        return [Fault("assertion.not-yet-valid", f"/{name}")]
    return []
