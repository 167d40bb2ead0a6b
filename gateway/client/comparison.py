"""Content against manifest: does the sealed bill say what the hospital has signed in clear? Pure.

Core enforces money from the manifest and cannot read the dossier, so whoever opens it holds one against the other.
Everything that stands in both places is compared; a difference is a JSON Pointer (RFC 6901) into the manifest.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from gateway.protocol.canonical import parse_b64url
from gateway.protocol.claim_terms import Eligibility, Payee
from gateway.protocol.differences import UNREADABLE
from gateway.protocol.errors import RefuseError
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.bundle import Bundle
from gateway.protocol.fhir.claim import Claim, Item
from gateway.protocol.fhir.elements import Extension, FhirMoney, Identifier, money_of
from gateway.protocol.fhir.resources import Consent, Coverage
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.money import Money

CONSENT_DOMAIN = b"szhk-consent/1\n"
"""The commitment is SHA-256 over this line, 32 bytes of salt, and the consent's RFC 8785 bytes."""

_WORST_FIRST = (Eligibility.INELIGIBLE, Eligibility.UNDETERMINED, Eligibility.ELIGIBLE)
_PAYEE_TYPE = {Payee.HOSPITAL: "provider", Payee.INSURED: "subscriber"}


def compare(bundle: Bundle, manifest: SubmittedManifest) -> tuple[str, ...]:
    """Name every clear field that the content contradicts or leaves out; empty means content and manifest agree.

    A bundle that has not exactly one claim, coverage and consent cannot be compared: `/content` is returned. The sum
    of the lines is no field of the manifest, so a total that differs is `/line_amounts_minor`.
    """
    try:
        claim, coverage, consent = bundle.one(Claim), bundle.one(Coverage), bundle.one(Consent)
    except RefuseError:
        return (UNREADABLE,)
    found = (
        *_identity(claim, manifest),
        *_lines(claim.item, manifest),
        *_billing(claim, manifest),
        *_paid(claim.extension, manifest),
        *_coverage(coverage, manifest),
        *_consent(consent, manifest),
        *_programme(claim.item, manifest),
    )
    return tuple(dict.fromkeys(found))


def _identity(claim: Claim, manifest: SubmittedManifest) -> Iterator[str]:
    if _identifier(claim.identifier, systems.CLAIM_ID) != manifest.claim_id:
        yield "/claim_id"
    if _identifier(claim.identifier, systems.CASE_ID) != manifest.case_id:
        yield "/case_id"
    version = _extension(claim.extension, systems.CLAIM_VERSION)
    if version is None or version.value_integer != manifest.claim_version:
        yield "/claim_version"
    if claim.use != manifest.use or claim.status != "active":
        yield "/use"
    receipts = [
        one for one in claim.supporting_info if one.code and one.code.code_of(systems.INFORMATION) == "e-receipt"
    ]
    if len(receipts) != len(manifest.receipt_tokens):
        yield "/receipt_tokens"


def _lines(items: tuple[Item, ...], manifest: SubmittedManifest) -> Iterator[str]:
    if len(items) != len(manifest.line_amounts_minor):
        yield "/line_amounts_minor"
    for index, (item, amount_minor) in enumerate(zip(items, manifest.line_amounts_minor, strict=False)):
        net = _money(item.net)
        if net is not None and net.currency != manifest.currency:
            yield "/currency"
        if net is None or net.amount_minor != amount_minor or item.sequence != index + 1 or not _adds_up(item, net):
            yield f"/line_amounts_minor/{index}"


def _adds_up(item: Item, net: Money) -> bool:
    """A line that was netted keeps its charge and refunds; together they are what is left."""
    if not item.detail:
        return True
    parts = [_money(detail.net) for detail in item.detail]
    known = [part for part in parts if part is not None and part.currency == net.currency]
    return len(known) == len(parts) and sum(part.amount_minor for part in known) == net.amount_minor


def _billing(claim: Claim, manifest: SubmittedManifest) -> Iterator[str]:
    total = _money(claim.total)
    if total is None or total.amount_minor != manifest.total_minor:
        yield "/line_amounts_minor"
    if total is not None and total.currency != manifest.currency:
        yield "/currency"
    if claim.payee is None or claim.payee.type.code_of(systems.PAYEE_TYPE) != _PAYEE_TYPE[manifest.payee]:
        yield "/payee"
    billing = _extension(claim.extension, systems.BILLING)
    told = {} if billing is None else {part.url: part for part in billing.extension}
    for name, code in (("billing_mode", manifest.billing_mode), ("payee", manifest.payee)):
        if name not in told or told[name].value_code != code:
            yield f"/{name}"
    if "payer_rank" not in told or told["payer_rank"].value_integer != manifest.payer_rank:
        yield "/payer_rank"
    for name, amount_minor in (("unpaid", manifest.unpaid_minor), ("asked", manifest.asked_minor)):
        if name not in told or _money(told[name].value_money) != Money(amount_minor, manifest.currency):
            yield f"/{name}_minor"


def _paid(extensions: tuple[Extension, ...], manifest: SubmittedManifest) -> Iterator[str]:
    payments = [extension for extension in extensions if extension.url == systems.PAID]
    if len(payments) != len(manifest.paid):
        yield "/paid"
    for index, (payment, paid) in enumerate(zip(payments, manifest.paid, strict=False)):
        told = {part.url: part for part in payment.extension}
        fits = (
            {"kind", "amount", "order"} <= set(told)
            and told["kind"].value_code == paid.kind
            and _money(told["amount"].value_money) == Money(paid.amount_minor, manifest.currency)
            and told["order"].value_integer == paid.order
        )
        if not fits:
            yield f"/paid/{index}"


def _coverage(coverage: Coverage, manifest: SubmittedManifest) -> Iterator[str]:
    told = {
        payor.display: payor.identifier.value
        for payor in coverage.payor
        if payor.identifier is not None and payor.identifier.system == systems.PARTY
    }
    signed = (("carrier", manifest.carrier), ("administrator", manifest.administrator), ("payer", manifest.payer))
    yield from (f"/{role}" for role, party in signed if told.get(role) != party)
    if coverage.status != "active":
        yield "/policy_kind"
    if coverage.type is None or coverage.type.code_of(systems.POLICY_KIND) != manifest.policy_kind:
        yield "/policy_kind"
    if coverage.order != manifest.payer_rank:
        yield "/payer_rank"


def _consent(consent: Consent, manifest: SubmittedManifest) -> Iterator[str]:
    text = _extension(consent.extension, systems.CONSENT_TEXT)
    salt = _extension(consent.extension, systems.CONSENT_SALT)
    if text is None or salt is None or _commitment(text, salt) != manifest.consent_commitment:
        yield "/consent_commitment"
    if consent.status != "active" or consent.scope.code_of(systems.CONSENT_SCOPE) != "patient-privacy":
        yield "/consent_commitment"
    provision = consent.provision
    actors = () if provision is None or provision.type == "deny" else provision.actor
    told = {actor.reference.identifier.value for actor in actors if actor.reference.identifier is not None}
    if not set(manifest.recipients) <= told:
        yield "/recipients"


def _commitment(text: Extension, salt: Extension) -> str | None:
    try:
        salted = CONSENT_DOMAIN + parse_b64url(salt.value_string or "") + (text.value_string or "").encode()
    except RefuseError:
        return None
    return sha256(salted).hexdigest()


def _programme(items: Iterable[Item], manifest: SubmittedManifest) -> Iterator[str]:
    uses = [use for item in items if (use := _extension(item.extension, systems.PROGRAMME)) is not None]
    if len(uses) != manifest.programme.count:
        yield "/programme/count"
    results = {part.value_code for use in uses for part in use.extension if part.url == "result"}
    worst = next((result for result in _WORST_FIRST if result in results), None)
    if worst != manifest.programme.worst:
        yield "/programme/worst"


def _extension(extensions: Iterable[Extension], url: str) -> Extension | None:
    return next((extension for extension in extensions if extension.url == url), None)


def _identifier(identifiers: Iterable[Identifier], system: str) -> str | None:
    current = (identifier for identifier in identifiers if identifier.use != "old")
    return next((identifier.value for identifier in current if identifier.system == system), None)


def _money(amount: FhirMoney | None) -> Money | None:
    """Read an amount; one that is absent or no whole number of minor units is None, and so equals nothing."""
    try:
        return None if amount is None else money_of(amount)
    except RefuseError:
        return None
