"""How a hospital is shown its claims: the same words in lists, single claims and events. Pure; amounts are decimals."""

from collections.abc import Mapping
from typing import Any

from gateway.protocol.errors import Fault
from gateway.protocol.hints import hint_for
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.money import Money


def amount(minor: int, currency: str) -> str:
    return str(Money(minor, currency))


def decision(answer: Mapping[str, Any] | None, serials: list[str]) -> dict[str, Any]:
    """Show an opened answer; `lines` are places in the submitted claim, `serials` the hospital's own names of them."""
    if answer is None:
        return {}
    kind = "returned" if answer["type"] == "returned" else "decision"
    shown = {name: value for name, value in answer.items() if name != "type"}
    if "entries" in shown:
        shown["entries"] = [
            entry | {"serials": [serials[line] for line in entry["lines"] if line < len(serials)]}
            for entry in shown["entries"]
        ]
    return {kind: shown}


def refusal(event: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Show why core refused a claim, in the form that a refusal over HTTP has (RFC 9457): `errors` names each fault."""
    hint = hint_for(event["code"])
    named = [_fault(text) for text in event["faults"]] or [Fault(event["code"])]
    return {
        "code": event["code"],
        "title": hint.sentence_in(language),
        "fix": hint.fix(language),
        "errors": [fault.as_dict(language) for fault in named],
    }


def _fault(text: str) -> Fault:
    """Read a fault as core writes it: its code, and a JSON Pointer where it has a place."""
    code, _, pointer = text.partition(" ")
    return Fault(code, pointer)


def event(stored: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Show an event of the timeline; faults of core's stand in it as core wrote them, and have one form in answers."""
    shown = dict(stored)
    if "faults" in shown:
        shown["faults"] = [_fault(text).as_dict(language) for text in shown["faults"]]
    return shown


def state_event(message: ClaimState) -> dict[str, Any]:
    """Show one state message of core in the timeline."""
    shown: dict[str, Any] = {
        "state": message.state,
        "payment_state": message.payment_state,
        "core_revision": message.revision,
    }
    shown |= {name: value for name, value in (("reason", message.reason), ("receipts", message.receipts)) if value}
    if message.dispute is not None:
        shown["disputed_by"] = message.dispute.by
    if message.reference is not None:
        shown["reference"] = message.reference
    if message.reason_code is not None:
        shown["reason_code"] = message.reason_code
    if message.amount_minor is not None and message.currency is not None:
        shown |= {"amount": amount(message.amount_minor, message.currency), "currency": message.currency}
    return shown
