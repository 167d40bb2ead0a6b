"""Answers of an insurer, as signed bytes: pure functions that the client and the insurer's desk share.

An answer is a manifest and, where it says something about a person, a dossier: an R4 collection Bundle whose first
entry is a ClaimResponse with a 32-byte nonce, sealed to the hospital and to the author's own archive key. Entries are
counted from 0, `itemSequence` from 1.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from gateway.protocol.acceptance import acceptance_faults
from gateway.protocol.canonical import b64url, compact
from gateway.protocol.clock import rfc3339
from gateway.protocol.decisions import decision_faults
from gateway.protocol.differences import DIFFERENCES_MAX
from gateway.protocol.errors import Fault, InvalidInputError, NotFoundError
from gateway.protocol.exchange import (
    NONCE_BYTES,
    Manifest,
    Posted,
    check_sizes,
    content_hash,
    faults_of,
    pack,
    read_payload,
)
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.bundle import Bundle, BundleEntry
from gateway.protocol.fhir.claim_response import Adjudication, ClaimResponse, ProcessNote, ResponseItem, ResponseTotal
from gateway.protocol.fhir.elements import CodeableConcept, Extension, Identifier, Reference, fhir_money_of
from gateway.protocol.fhir.wire import to_json
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import PrivateKey, PublicKey, Typ, seal, sign
from gateway.protocol.messages import parse_manifest
from gateway.protocol.messages.acknowledged import AcknowledgedManifest
from gateway.protocol.messages.decided import Bearer, DecidedManifest, Entry
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.money import Money
from gateway.protocol.registry import Directory

AUTHOR = "insurer"
"""The kind of party that authors here, as the registry names it; an administrator answers alike."""

Texts = Mapping[str, str]
"""Text by BCP 47 tag, e.g. `{"en": …, "zh-Hant": …}`."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who answers: the party's code, its signing key, and the public key under which it keeps its own copy."""

    party: str
    sign_key: PrivateKey
    archive: PublicKey


@dataclass(frozen=True, slots=True)
class Authored:
    """An answer ready to be posted; `posted` holds the bytes that were signed, never to be built again."""

    manifest: Manifest
    posted: Posted = field(repr=False)

    @property
    def msg_id(self) -> str:
        return self.manifest.msg_id


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """What happens to some lines, in minor units of the claim's currency; texts say why, and are sealed."""

    lines: tuple[int, ...]
    benefit_minor: int
    patient_minor: int = 0
    other_payer_minor: int = 0
    adjusted_minor: int = 0
    bearer: Bearer | None = None
    class_code: str | None = None
    texts: Texts = field(default_factory=dict, repr=False)

    def clear(self) -> dict[str, Any]:
        """Return the part that the manifest carries in clear."""
        return {
            "lines": self.lines,
            "benefit_minor": self.benefit_minor,
            "patient_minor": self.patient_minor,
            "other_payer_minor": self.other_payer_minor,
            "adjusted_minor": self.adjusted_minor,
            "bearer": self.bearer,
            "class_code": self.class_code,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on a claim at revision `based_on`; `hospital_bears` are the codes the route's contract lists."""

    entries: tuple[DecisionEntry, ...]
    final: bool
    based_on: int
    decision_version: int = 1
    texts: Texts = field(default_factory=dict, repr=False)
    hospital_bears: frozenset[str] = frozenset()


def acknowledge(author: Author, claim: SubmittedManifest, *, based_on: int, at: datetime) -> Authored:
    """Say that the claim was opened, found as signed, and is taken into review; repeats the hash of what was opened."""
    fields = _answer(author, claim, at) | {"content_sha256": claim.content_sha256}
    manifest = AcknowledgedManifest(**fields, in_reply_to=claim.msg_id, based_on=based_on)
    return _authored(author, manifest)


def dispute(author: Author, claim: SubmittedManifest, differences: Sequence[str], *, at: datetime) -> Authored:
    """Say where content and manifest differ; it stops the claim and its money.

    `InvalidInputError` where there is no difference, or one outside the closed set of `differences.py`.
    """
    named = tuple(differences[:DIFFERENCES_MAX])
    manifest = DisputedManifest(**_answer(author, claim, at), in_reply_to=claim.msg_id, differences=named)
    return _authored(author, manifest)


def withdraw_dispute(author: Author, claim: SubmittedManifest, dispute_msg_id: str, *, at: datetime) -> Authored:
    """Take back a dispute of one's own, named by its message id: the claim stands as it did before."""
    return _authored(author, DisputeWithdrawnManifest(**_answer(author, claim, at), in_reply_to=dispute_msg_id))


def return_claim(
    author: Author,
    claim: SubmittedManifest,
    hospital: PublicKey,
    *,
    based_on: int,
    class_code: str,
    texts: Texts,
    at: datetime,
) -> Authored:
    """Say that the claim cannot be processed; the class code is clear, the texts are sealed to `hospital`."""
    notes = tuple(_notes(1, texts, None))
    packed = _content(_response(author, claim, at, outcome="error", process_note=notes), at)
    manifest = ReturnedManifest(
        **_answer(author, claim, at, packed), in_reply_to=claim.msg_id, based_on=based_on, class_code=class_code
    )
    return _authored(author, manifest, _sealed(author, hospital, packed))


def decide(
    author: Author, claim: SubmittedManifest, hospital: PublicKey, decision: Decision, *, at: datetime
) -> Authored:
    """Decide by entries that explain every minor unit; `InvalidInputError` names all faults, and nothing is signed."""
    draft = DecidedManifest(
        **_answer(author, claim, at),
        in_reply_to=claim.msg_id,
        based_on=decision.based_on,
        decision_version=decision.decision_version,
        currency=claim.currency,
        final=decision.final,
        entries=_entries(decision),
    )
    faults = decision_faults(
        draft,
        claim.line_amounts_minor,
        asked_minor=claim.asked_minor,
        currency=claim.currency,
        hospital_bears=decision.hospital_bears,
    )
    faults += acceptance_faults(draft, kind=AUTHOR, parties=None)
    if faults:
        raise InvalidInputError("decision.refused", faults=faults)
    packed = _content(_decided_response(author, claim, decision, at), at)
    manifest = draft.model_copy(update={"content_sha256": content_hash(packed)})
    return _authored(author, manifest, _sealed(author, hospital, packed))


def reauthor(author: Author, posted: Posted, *, at: datetime) -> Authored:
    """Say the same again under a new message id and time; content and dossier stay as they are.

    Only for an answer that no edge has ever taken: its time window has passed.
    """
    found = parse_manifest(read_payload(posted.manifest), accepting=True)
    return _authored(author, found.model_copy(update={"msg_id": mint("msg"), "sent_at": at}), posted.dossier)


def hospital_bears(directory: Directory, claim: SubmittedManifest, at: datetime) -> frozenset[str]:
    """Return the class codes that the route's contract lets the hospital bear; none where there is no such route."""
    try:
        route = directory.route(claim.sender, claim.carrier, claim.payer, at)
    except NotFoundError:
        return frozenset()
    return frozenset(route.hospital_bears)


def _entries(decision: Decision) -> tuple[Entry, ...]:
    entries, faults = [], []
    for index, entry in enumerate(decision.entries):
        try:
            entries.append(Entry.model_validate(entry.clear()))
        except ValidationError as error:
            faults += faults_of(error, f"/entries/{index}")
    if not decision.entries:
        faults.append(Fault("decision.line-missing", "/entries"))
    if faults:
        raise InvalidInputError("decision.refused", faults=faults)
    return tuple(entries)


# Manifest and dossier


def _answer(author: Author, claim: SubmittedManifest, at: datetime, packed: bytes | None = None) -> dict[str, Any]:
    """Fill the fields of every answer to `claim`."""
    return {
        "msg_id": mint("msg"),
        "case_id": claim.case_id,
        "claim_id": claim.claim_id,
        "claim_version": claim.claim_version,
        "sender": author.party,
        "recipients": (claim.sender,),
        "sent_at": at,
        "content_sha256": None if packed is None else content_hash(packed),
    }


def _authored(author: Author, manifest: Manifest, dossier: str | None = None) -> Authored:
    faults = acceptance_faults(manifest, kind=AUTHOR, parties=None)
    if faults:
        raise InvalidInputError("message.invalid", faults=faults)
    payload = compact(manifest.model_dump(mode="json", exclude_none=True))
    posted = Posted(sign(payload, author.sign_key, Typ.MANIFEST), dossier)
    check_sizes((posted.manifest, posted.dossier))
    return Authored(manifest, posted)


def _sealed(author: Author, hospital: PublicKey, packed: bytes) -> str:
    return seal(packed, [hospital, author.archive])


def _content(response: ClaimResponse, at: datetime) -> bytes:
    entry = BundleEntry(full_url="urn:szhk:resource:claim-response", resource=response)
    return pack(to_json(Bundle(type="collection", timestamp=rfc3339(at), entry=(entry,))))


def _response(
    author: Author,
    claim: SubmittedManifest,
    at: datetime,
    *,
    outcome: Literal["complete", "partial", "error"],
    decision_version: int | None = None,
    **parts: Any,
) -> ClaimResponse:
    """Fill what every ClaimResponse has; the patient is named by the claim alone."""
    named = Identifier(system=systems.CLAIM_ID, value=claim.claim_id)
    nonce = Extension(url=systems.NONCE, value_string=b64url(secrets.token_bytes(NONCE_BYTES)))
    version = Extension(url=systems.DECISION_VERSION, value_integer=decision_version or 0)
    return ClaimResponse(
        extension=(nonce,) if decision_version is None else (nonce, version),
        status="active",
        type=CodeableConcept.of(systems.CLAIM_TYPE, "institutional"),
        use="claim",
        patient=Reference(type="Patient", identifier=named),
        created=rfc3339(at),
        insurer=Reference(identifier=Identifier(system=systems.PARTY, value=author.party)),
        requestor=Reference(identifier=Identifier(system=systems.PARTY, value=claim.sender)),
        request=Reference(type="Claim", identifier=named),
        outcome=outcome,
        **parts,
    )


def _decided_response(author: Author, claim: SubmittedManifest, decision: Decision, at: datetime) -> ClaimResponse:
    notes: list[ProcessNote] = []
    items: list[ResponseItem] = []
    figures: list[Adjudication] = []
    for index, entry in enumerate(decision.entries):
        of_entry = tuple(_notes(len(notes) + 1, entry.texts, index))
        notes += of_entry
        items += _items(claim, entry, index, tuple(note.number for note in of_entry if note.number))
        figures += _figures(claim.currency, entry, index)
    notes += _notes(len(notes) + 1, decision.texts, None)
    benefit = Money(sum(entry.benefit_minor for entry in decision.entries), claim.currency)
    return _response(
        author,
        claim,
        at,
        outcome="complete" if decision.final else "partial",
        decision_version=decision.decision_version,
        item=tuple(sorted(items, key=lambda item: item.item_sequence)),
        adjudication=tuple(figures),
        total=(
            ResponseTotal(category=CodeableConcept.of(systems.ADJUDICATION, "benefit"), amount=fhir_money_of(benefit)),
        ),
        process_note=tuple(notes),
    )


def _mark(entry: int) -> tuple[Extension, ...]:
    return (Extension(url=systems.ENTRY, value_integer=entry),)


def _notes(first: int, texts: Texts, entry: int | None) -> Iterator[ProcessNote]:
    for number, (language, text) in enumerate(sorted(texts.items()), first):
        yield ProcessNote(
            extension=() if entry is None else _mark(entry),
            number=number,
            type="display",
            text=text,
            language=CodeableConcept.of(systems.LANGUAGE, language),
        )


def _items(
    claim: SubmittedManifest, entry: DecisionEntry, index: int, notes: tuple[int, ...]
) -> Iterator[ResponseItem]:
    """Answer each line of an entry: what was submitted, and the benefit where the entry is about this line alone.

    The figures of an entry over several lines are not shared out; they stand in the response's header.
    """
    reason = None if entry.class_code is None else CodeableConcept.of(systems.REASON, entry.class_code)
    for line in entry.lines:
        if 0 <= line < len(claim.line_amounts_minor):
            figures = [("submitted", claim.line_amounts_minor[line], reason)]
            if len(entry.lines) == 1:
                figures.append(("benefit", entry.benefit_minor, None))
            yield ResponseItem(
                extension=_mark(index),
                item_sequence=line + 1,
                note_number=notes,
                adjudication=tuple(
                    Adjudication(
                        category=CodeableConcept.of(systems.ADJUDICATION, code),
                        reason=why,
                        amount=fhir_money_of(Money(amount_minor, claim.currency)),
                    )
                    for code, amount_minor, why in figures
                ),
            )


def _figures(currency: str, entry: DecisionEntry, index: int) -> Iterator[Adjudication]:
    shown = (
        (systems.ADJUDICATION, "benefit", entry.benefit_minor),
        (systems.ADJUDICATION, "copay", entry.patient_minor),
        (systems.ANSWER_FIGURE, "other-payer", entry.other_payer_minor),
        (systems.ANSWER_FIGURE, "adjusted", entry.adjusted_minor),
    )
    for system, code, amount_minor in shown:
        if amount_minor or code == "benefit":
            yield Adjudication(
                extension=_mark(index),
                category=CodeableConcept.of(system, code),
                amount=fhir_money_of(Money(amount_minor, currency)),
            )
