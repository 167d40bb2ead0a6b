"""The registry release: whom the root makes us believe, and every way in which a release can be false."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.canonical import BODY_BYTES_MAX, canonical, compact
from gateway.protocol.errors import (
    BadSignatureError,
    GatewayError,
    HeldError,
    InvalidInputError,
    MalformedInputError,
    NotFoundError,
    UnavailableError,
    UnknownKeyError,
)
from gateway.protocol.jose import PrivateKey, Typ, sign
from gateway.protocol.registry import (
    Party,
    SignedRelease,
    Use,
    certify_registry_key,
    open_release,
    release_number,
    sign_entry,
)
from gateway.runtime.custody.keys import TrustHolder
from tests.parties import HOSPITAL, INSURER, NOW, OTHER_INSURER, key_of, the_route, world

STRANGER = PrivateKey.generate("root/1", "Ed25519")


def party(code: str) -> Party:
    return world().directory.party(code)


def test_a_true_release_names_every_party_key_and_route() -> None:
    directory = open_release(world().signed, world().trust)

    assert directory.number == release_number(world().signed) == 1
    assert directory.party(HOSPITAL).kind == "hospital"
    assert directory.holder(f"{INSURER}/sign/1").party.code == INSURER
    assert directory.client("hosp-nanshan-his")[0].code == HOSPITAL
    assert directory.route(HOSPITAL, INSURER, INSURER, NOW).reader == INSURER


def test_a_release_reads_back_as_it_was_written() -> None:
    assert SignedRelease.decode(world().signed.encode()) == world().signed


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"release":"a"}', b'{"release":"a","registry_key":1}'])
def test_a_release_of_another_form_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedInputError):
        SignedRelease.decode(raw)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_as_a_release_is_refused(release: str, registry_key: str) -> None:
    with pytest.raises(GatewayError):
        open_release(SignedRelease(release, registry_key), world().trust)


def test_a_release_under_another_root_is_refused() -> None:
    false = replace(world().signed, registry_key=certify_registry_key(world().registry_key.public, STRANGER))

    with pytest.raises(BadSignatureError):
        open_release(false, world().trust)


def test_a_trust_file_with_another_root_believes_nothing() -> None:
    other = world().trust.model_copy(update={"root_x": STRANGER.public.x})

    with pytest.raises(BadSignatureError):
        open_release(world().signed, other)


def test_a_release_signed_by_a_key_that_the_root_did_not_certify_is_refused() -> None:
    body = canonical({"release": 2})
    false = replace(world().signed, release=sign(body, PrivateKey.generate("registry/1", "Ed25519"), Typ.RELEASE))

    with pytest.raises(BadSignatureError, match=r"jws\.signature"):
        open_release(false, world().trust)


def test_the_root_s_certificate_holds_a_key_and_nothing_else() -> None:
    key = world().registry_key.public
    certificate = sign(compact({"kid": key.kid, "x": key.x, "until": "2099"}), world().root, Typ.REGISTRY_KEY)

    with pytest.raises(MalformedInputError, match=r"registry\.malformed"):
        open_release(replace(world().signed, registry_key=certificate), world().trust)


def test_a_release_older_than_the_minimum_is_refused() -> None:
    newer = world().trust.model_copy(update={"minimum_release": 2})

    with pytest.raises(InvalidInputError, match=r"registry\.too-old"):
        open_release(world().signed, newer)
    assert open_release(world().sign_release(number=2), newer).number == 2


def test_an_older_release_never_replaces_the_one_in_force() -> None:
    holder = TrustHolder(world().trust)
    with pytest.raises(UnavailableError, match=r"registry\.none-yet"):
        _ = holder.directory
    newer, older = world().sign_release(number=5), world().sign_release(number=4)

    for signed in (newer, older, newer):
        holder.install(signed, holder.verify(signed))

    assert (holder.number, holder.signed) == (5, newer)


def entries_with(false_entry: str, code: str) -> tuple[str, ...]:
    others = [world().sign_entry(one) for one in world().directory.parties.values() if one.code != code]
    return (*others, false_entry)


def test_a_party_entry_signed_by_another_s_key_is_refused() -> None:
    false = sign_entry(party(INSURER), key_of(f"{OTHER_INSURER}/sign/1"))

    with pytest.raises(BadSignatureError, match=r"registry\.entry-not-self-signed"):
        open_release(world().sign_release(entries=entries_with(false, INSURER)), world().trust)


def test_a_party_entry_changed_by_the_registry_is_refused() -> None:
    changed = party(INSURER).model_copy(update={"name_en": "Somebody Else"})
    false = sign_entry(changed, PrivateKey.generate(f"{INSURER}/sign/1", "Ed25519"))

    with pytest.raises(BadSignatureError, match=r"jws\.signature"):
        open_release(world().sign_release(entries=entries_with(false, INSURER)), world().trust)


def test_a_party_cannot_bring_a_key_under_another_s_name() -> None:
    lantau = party(OTHER_INSURER)
    stolen = lantau.keys[0].model_copy(update={"kid": f"{INSURER}/sign/2"})
    greedy = lantau.model_copy(update={"keys": (*lantau.keys, stolen)})

    with pytest.raises(InvalidInputError, match=r"registry\.key-id"):
        open_release(world().sign_release([greedy]), world().trust)


def test_a_party_is_listed_once() -> None:
    second_key = PrivateKey.generate(f"{INSURER}/sign/2", "Ed25519")
    row = party(INSURER).keys[0].model_copy(update={"kid": second_key.kid, "x": second_key.public.x})
    twin = party(INSURER).model_copy(update={"keys": (row,), "clients": ()})
    entries = (world().sign_entry(party(INSURER)), sign_entry(twin, second_key))

    with pytest.raises(InvalidInputError, match=r"registry\.party-twice"):
        open_release(world().sign_release(entries=entries), world().trust)


def test_a_party_cannot_take_another_s_client_id() -> None:
    lantau = party(OTHER_INSURER)
    taken = lantau.clients[0].model_copy(update={"client_id": party(INSURER).clients[0].client_id})
    greedy = lantau.model_copy(update={"clients": (*lantau.clients, taken)})

    with pytest.raises(InvalidInputError, match=r"registry\.client-twice"):
        open_release(world().sign_release([party(INSURER), greedy]), world().trust)


def test_a_client_s_key_is_its_own_party_s() -> None:
    lantau = party(OTHER_INSURER)
    borrowed = lantau.clients[0].model_copy(update={"client_id": "new-client", "kid": party(INSURER).clients[0].kid})
    greedy = lantau.model_copy(update={"clients": (*lantau.clients, borrowed)})

    with pytest.raises(InvalidInputError, match=r"registry\.client-key"):
        open_release(world().sign_release([party(INSURER), greedy]), world().trust)


def test_a_release_with_an_unknown_field_is_refused() -> None:
    unknown = replace(
        world().signed, release=sign(canonical({"release": 1, "x": 1}), world().registry_key, Typ.RELEASE)
    )

    with pytest.raises(InvalidInputError, match=r"message\.invalid"):
        open_release(unknown, world().trust)


def test_a_release_larger_than_a_body_is_still_numbered() -> None:
    large = replace(
        world().signed,
        release=sign(canonical({"label": "x" * BODY_BYTES_MAX, "release": 7}), world().registry_key, Typ.RELEASE),
    )

    assert release_number(large) == 7


@pytest.mark.parametrize("number", ["1", None, 1.5, [1]])
def test_a_release_without_a_number_counts_as_none(number: Any) -> None:
    token = sign(compact({"release": number}) if number != 1.5 else b"{}", world().registry_key, Typ.RELEASE)

    assert release_number(SignedRelease(token, "")) == 0


def test_look_ups_of_what_nobody_listed_tell_whether_to_wait() -> None:
    directory = world().directory

    with pytest.raises(UnknownKeyError, match=r"key\.unknown"):
        directory.holder(f"{INSURER}/sign/9")
    with pytest.raises(NotFoundError, match=r"party\.unknown"):
        directory.party("ins-nobody")
    with pytest.raises(NotFoundError, match=r"client\.unknown"):
        directory.client("nobody")
    with pytest.raises(NotFoundError, match=r"route\.unknown"):
        directory.route(HOSPITAL, INSURER, OTHER_INSURER, NOW)


def test_a_route_holds_within_its_dates_only() -> None:
    [route, *_] = world().directory.routes
    ended = route.model_copy(update={"valid_to": NOW})
    directory = open_release(world().sign_release(routes=(ended,)), world().trust)

    with pytest.raises(NotFoundError, match=r"route\.unknown"):
        directory.route(route.hospital, route.carrier, route.payer, NOW)
    assert directory.route(route.hospital, route.carrier, route.payer, NOW - timedelta(days=1)) == ended


def test_an_administrator_reads_in_the_carrier_s_place() -> None:
    route = world().directory.routes[0].model_copy(update={"administrator": "adm-one"})

    assert route.reader == "adm-one"


def test_a_key_serves_its_use_only() -> None:
    with pytest.raises(BadSignatureError, match=r"key\.wrong-use"):
        world().directory.signer(f"{INSURER}/seal/1", Use.SIGN, NOW)


def test_a_compromised_key_is_held_from_that_moment_and_never_sealed_to() -> None:
    signing, sealing = f"{INSURER}/sign/1", f"{INSURER}/seal/1"
    directory = world().with_key(signing, compromised_at=NOW)

    with pytest.raises(HeldError, match=r"key\.compromised"):
        directory.signer(signing, Use.SIGN, NOW)
    assert directory.signer(signing, Use.SIGN, NOW - timedelta(seconds=1)).party.code == INSURER
    with pytest.raises(UnknownKeyError, match=r"key\.no-seal-key"):
        world().with_key(sealing, compromised_at=NOW + timedelta(days=1)).seal_key(INSURER, NOW)


def test_dossiers_are_sealed_to_the_newest_key_in_force() -> None:
    insurer = party(INSURER)
    row = next(row for row in insurer.keys if row.use is Use.SEAL)
    fresh = PrivateKey.generate(f"{INSURER}/seal/2", "X25519").public
    newer = row.model_copy(update={"kid": fresh.kid, "x": fresh.x, "valid_from": NOW})
    rotated = insurer.model_copy(update={"keys": (*insurer.keys, newer)})
    directory = open_release(world().sign_release([rotated], routes=()), world().trust)

    assert directory.seal_key(INSURER, NOW) == fresh
    assert directory.seal_key(INSURER, NOW - timedelta(seconds=1)).kid == row.kid
    with pytest.raises(UnknownKeyError, match=r"key\.no-seal-key"):
        directory.seal_key(HOSPITAL, NOW)


def test_a_route_with_a_code_outside_the_tables_is_never_signed() -> None:
    route = the_route().model_copy(update={"hospital_bears": ("G011", "G999"), "mechanism": "handshake"})

    with pytest.raises(InvalidInputError) as refused:
        world().sign_release(routes=(the_route(), route))

    assert refused.value.code == "registry.route"
    assert [(fault.code, fault.pointer) for fault in refused.value.faults] == [
        ("field.enum", "/routes/1/mechanism"),
        ("reason.unknown", "/routes/1/hospital_bears/1"),
    ]
