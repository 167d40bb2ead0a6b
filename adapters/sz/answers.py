"""An insurer's answer as the hospital opens it: read the sealed content, hold it against the signed manifest.

A difference never changes what was signed; it is named by place, sent back as a signed `disputed`, and blocks money
until people have looked.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.protocol.differences import DIFFERENCES_MAX, UNREADABLE
from gateway.protocol.errors import GatewayError
from gateway.protocol.exchange import unpack
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.claim_response import Adjudication, ClaimResponse, ProcessNote
from gateway.protocol.fhir.elements import Element, money_of
from gateway.protocol.fhir.wire import read_bundle
from gateway.protocol.messages.decided import DecidedManifest, Entry
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.money import Money
from gateway.protocol.reasons import REASONS

TEXTS_MAX = 200

TheirAnswer = DecidedManifest | ReturnedManifest


@dataclass(frozen=True, slots=True)
class Opened:
    """`content` is what the hospital is shown, without a JSON value that the signature does not cover."""

    content: dict[str, Any]
    differences: tuple[str, ...]


def unreadable(manifest: TheirAnswer, difference: str) -> Opened:
    """Stand in for an answer whose content cannot be read; `difference` says how far the reader came."""
    return Opened(_shown(manifest, None), (difference,))


def read_answer(packed: bytes, manifest: TheirAnswer) -> Opened:
    """Read the packed content; content that is no answer is a difference, not an error."""
    try:
        response = read_bundle(unpack(packed)).one(ClaimResponse)
        differences = tuple(dict.fromkeys(_differences(response, manifest)))[:DIFFERENCES_MAX]
    except GatewayError:
        return unreadable(manifest, UNREADABLE)
    return Opened(_shown(manifest, response), differences)


def _differences(response: ClaimResponse, manifest: TheirAnswer) -> Iterator[str]:
    stated = [*response.identifier, *([response.request.identifier] if response.request else [])]
    current = [identifier for identifier in stated if identifier is not None and identifier.use != "old"]
    if any(one.system == systems.CLAIM_ID and one.value != manifest.claim_id for one in current):
        yield "/claim_id"
    if (response.status, response.use) != ("active", "claim"):
        # what has been withdrawn, or is an estimate, is no answer of this type
        yield "/type"
    if isinstance(manifest, DecidedManifest):
        yield from _item_differences(response, manifest)
        yield from _figure_differences(response, manifest)


def _item_differences(response: ClaimResponse, manifest: DecidedManifest) -> Iterator[str]:
    for item in response.item:
        index = _integer(item, systems.ENTRY)
        covered = [entry for entry in manifest.entries if item.item_sequence - 1 in entry.lines]
        if not covered or (index is not None and _at(manifest, index) not in covered):
            yield "/entries"


def _figure_differences(response: ClaimResponse, manifest: DecidedManifest) -> Iterator[str]:
    """Sum the figures per entry, the header's and the items' each by themselves; what is told must be as signed."""
    for figures in (_header_figures(response), _item_figures(response)):
        told: Counter[tuple[int, str]] = Counter()
        for figure, index in figures:
            name = _figure_name(figure)
            if name is None:
                continue
            if _at(manifest, index) is None:
                yield "/entries"
            elif figure.amount is None or figure.amount.currency != manifest.currency:
                yield f"/entries/{index}"
            else:
                told[index, name] += money_of(figure.amount).amount_minor
        for (index, name), minor in sorted(told.items()):
            if minor != getattr(manifest.entries[index], name):
                yield f"/entries/{index}/{name}"
    yield from _total_differences(response, manifest)


def _total_differences(response: ClaimResponse, manifest: DecidedManifest) -> Iterator[str]:
    for stated in response.total:
        if stated.category.code_of(systems.ADJUDICATION) == "benefit":
            benefit = Money(manifest.benefit_minor, manifest.currency)
            if money_of(stated.amount) != benefit:
                yield "/entries"


def _header_figures(response: ClaimResponse) -> Iterator[tuple[Adjudication, int]]:
    """Find every figure of the header that names its entry."""
    for figure in response.adjudication:
        index = _integer(figure, systems.ENTRY)
        if index is not None:
            yield figure, index


def _item_figures(response: ClaimResponse) -> Iterator[tuple[Adjudication, int]]:
    """Find every figure of an item that names its entry."""
    for item in response.item:
        index = _integer(item, systems.ENTRY)
        if index is not None:
            yield from ((figure, index) for figure in item.adjudication)


def _figure_name(figure: Adjudication) -> str | None:
    for system, code, name in _FIGURES:
        if figure.category.code_of(system) == code:
            return name
    return None


_FIGURES = (
    (systems.ADJUDICATION, "benefit", "benefit_minor"),
    (systems.ADJUDICATION, "copay", "patient_minor"),
    (systems.ANSWER_FIGURE, "other-payer", "other_payer_minor"),
    (systems.ANSWER_FIGURE, "adjusted", "adjusted_minor"),
)


def _at(manifest: DecidedManifest, index: int) -> Entry | None:
    return manifest.entries[index] if 0 <= index < len(manifest.entries) else None


def _integer(element: Element, url: str) -> int | None:
    return next((one.value_integer for one in element.extension if one.url == url), None)


def _shown(manifest: TheirAnswer, response: ClaimResponse | None) -> dict[str, Any]:
    """Show what was signed, with the texts that the content adds to it."""
    texts = [] if response is None else [_text(note) for note in response.process_note[:TEXTS_MAX]]
    of_entry = {index: [text for text in texts if text[0] == index] for index, _ in texts if index is not None}
    shown: dict[str, Any] = {"type": manifest.type, "texts": [text for index, text in texts if index is None]}
    if response is not None and response.disposition:
        shown["disposition"] = response.disposition
    if isinstance(manifest, ReturnedManifest):
        return shown | {"class_code": manifest.class_code, "reason": _reason(manifest.class_code)}
    return shown | {
        "decision_version": manifest.decision_version,
        "final": manifest.final,
        "benefit": str(Money(manifest.benefit_minor, manifest.currency)),
        "currency": manifest.currency,
        "entries": [
            _entry(entry, manifest.currency, [text for _, text in of_entry.get(index, [])])
            for index, entry in enumerate(manifest.entries)
        ],
    }


def _text(note: ProcessNote) -> tuple[int | None, dict[str, str]]:
    """Return a note with the entry it belongs to, if it names one."""
    language = None if note.language is None else next((one.code for one in note.language.coding if one.code), None)
    return _integer(note, systems.ENTRY), {"text": note.text} | ({"language": language} if language else {})


def _entry(entry: Entry, currency: str, notes: list[dict[str, str]]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "lines": list(entry.lines),
        "benefit": str(Money(entry.benefit_minor, currency)),
        "patient": str(Money(entry.patient_minor, currency)),
        "other_payer": str(Money(entry.other_payer_minor, currency)),
        "adjusted": str(Money(entry.adjusted_minor, currency)),
    }
    if entry.bearer is not None:
        shown["bearer"] = entry.bearer
    if entry.class_code is not None:
        shown |= {"class_code": entry.class_code, "reason": _reason(entry.class_code)}
    return shown | ({"texts": notes} if notes else {})


def _reason(code: str) -> dict[str, str] | None:
    """Return the gateway's own words for a class code in three languages."""
    found = REASONS.get(code)
    return None if found is None else {"en": found.en, "zh-Hans": found.zh_hans, "zh-Hant": found.zh_hant}
