"""What an auditor trusts before looking at a log: its key, the witnesses and their quorum, the sources' keys.

It must come from elsewhere than the log. As a file: JSON `{"log": vkey or [vkeys], "witnesses": [vkeys],
"policy": tlog-policy text, "sources": [vkeys], "first_sq": {source: number}}`, everything but `log` optional.
Without a policy every witness named must have cosigned. A source's key bears the source's name (`src` of its
leaves). `first_sq` is for logs that go on from an earlier one, where a source does not start at 1.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit.checkpoint import COSIGNATURE_KINDS, Policy, parse_policy
from audit.merkle import VerificationError
from audit.note import ED25519, VerifierKey, parse_vkey

_KEYS = frozenset({"log", "witnesses", "policy", "sources", "first_sq"})


@dataclass(frozen=True, slots=True)
class Trust:
    """Keys by part: logs (type 01), witnesses (04, 06), sources (01); the policy's own keys included."""

    logs: tuple[VerifierKey, ...]
    witnesses: tuple[VerifierKey, ...] = ()
    sources: tuple[VerifierKey, ...] = ()
    policy: Policy = field(default_factory=Policy)
    first_numbers: Mapping[str, int] = field(default_factory=dict)


def read_trust(raw: bytes | None, extra: Mapping[str, Sequence[str]], policy: bytes | None = None) -> Trust:
    """Join a trust file (if any) with keys given one by one (`log`, `witnesses`, `sources`) and a policy file."""
    told = _read_object(raw) if raw is not None else {}
    if not told.keys() <= _KEYS:
        raise VerificationError("the trust file has a key it cannot have")
    log = told.get("log", [])
    keys = {
        "log": _vkeys([log] if isinstance(log, str) else log, extra, "log", {ED25519}),
        "witnesses": _vkeys(told.get("witnesses", []), extra, "witnesses", COSIGNATURE_KINDS),
        "sources": _vkeys(told.get("sources", []), extra, "sources", {ED25519}),
    }
    rule = policy if policy is not None else _policy_bytes(told.get("policy"))
    read = Policy.all_of(keys["witnesses"]) if rule is None else parse_policy(rule)
    logs = _once([*keys["log"], *(party.key for party in read.logs)])
    if not logs:
        raise VerificationError("no log key is trusted")
    witnesses = _once([*read.witness_keys, *keys["witnesses"]])
    return Trust(logs, witnesses, _once(keys["sources"]), read, _first_numbers(told.get("first_sq", {})))


def _once(keys: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
    return tuple(dict.fromkeys(keys))


def _vkeys(
    told: Any, extra: Mapping[str, Sequence[str]], part: str, kinds: frozenset[int] | set[int]
) -> list[VerifierKey]:
    if not isinstance(told, list) or not all(isinstance(text, str) for text in told):
        raise VerificationError(f"the trust file's {part} is no list of verifier keys")
    keys = [parse_vkey(text) for text in (*told, *extra.get(part, ()))]
    if any(key.kind not in kinds for key in keys):
        raise VerificationError(f"a key under {part} has a type that does not belong there")
    return keys


def _policy_bytes(told: Any) -> bytes | None:
    if told is not None and not isinstance(told, str):
        raise VerificationError("the trust file's policy is no text")
    return None if told is None else told.encode()


def _first_numbers(told: Any) -> dict[str, int]:
    if not isinstance(told, dict) or not all(type(number) is int and number > 0 for number in told.values()):
        raise VerificationError("the trust file's first_sq is no map from source to number")
    return told


def _read_object(raw: bytes) -> dict[str, Any]:
    try:
        told = json.loads(raw.decode())  # noqa: TID251 the proof core imports nothing of ours
    except (ValueError, RecursionError):
        raise VerificationError("the trust file is no JSON") from None
    if not isinstance(told, dict):
        raise VerificationError("the trust file is no JSON object")
    return told
