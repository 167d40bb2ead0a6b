"""What the door sees of a sealed answer: exactly one valid seal key of each party on the route, by key id."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.protocol.canonical import b64url, compact, read_json_object
from gateway.protocol.dossier_checks import dossier_faults
from gateway.protocol.errors import Fault
from gateway.protocol.jose import PublicKey, seal
from gateway.protocol.registry import Directory
from tests.parties import HOSPITAL, INSURER, NOW, OTHER_INSURER, key_of, world

PARTIES = (HOSPITAL, INSURER)
OURS, THEIRS = f"{HOSPITAL}/seal/1", f"{INSURER}/seal/1"
SECOND = "/dossier/recipients/1/header/kid"


def key(kid: str, public: str | None = None) -> PublicKey:
    """Return the public key that stands under `public`, named `kid`."""
    return PublicKey(kid, "X25519", key_of(public or kid).public.x)


def faults(*keys: PublicKey, directory: Directory | None = None) -> list[Fault]:
    return dossier_faults(seal(b"x", list(keys)), directory or world().directory, PARTIES, NOW)


def test_a_dossier_for_the_hospital_and_its_author_is_taken_in_either_order() -> None:
    assert faults(key(OURS), key(THEIRS)) == []
    assert faults(key(THEIRS), key(OURS)) == []


def test_a_dossier_for_one_recipient_only_is_refused_by_name() -> None:
    assert faults(key(OURS)) == [Fault("dossier.one-recipient", "/dossier/recipients")]


def test_a_dossier_in_flattened_form_has_one_recipient_and_is_refused_by_name() -> None:
    sealed: dict[str, Any] = read_json_object(seal(b"x", [key(OURS)]).encode())
    flattened = compact(sealed | sealed.pop("recipients")[0]).decode()

    assert dossier_faults(flattened, world().directory, PARTIES, NOW) == [Fault("dossier.one-recipient", "/dossier")]


@pytest.mark.parametrize(
    ("kid", "code"),
    [
        (f"{INSURER}/seal/9", "dossier.key-unknown"),
        (f"{OTHER_INSURER}/seal/1", "dossier.recipient-not-on-route"),
        (f"{INSURER}/sign/1", "dossier.key-does-not-seal"),
        (OURS, "dossier.recipient-twice"),
    ],
)
def test_a_key_that_is_not_the_authors_seal_key_is_refused_with_its_place(kid: str, code: str) -> None:
    assert faults(key(OURS), key(kid, THEIRS)) == [Fault(code, SECOND)]


@pytest.mark.parametrize(
    "change",
    [
        {"valid_to": NOW},
        {"valid_from": NOW + timedelta(seconds=1)},
        {"compromised_at": NOW - timedelta(days=1)},
    ],
)
def test_a_key_that_is_not_valid_now_is_refused(change: dict[str, Any]) -> None:
    directory = world().with_key(THEIRS, **change)

    assert faults(key(OURS), key(THEIRS), directory=directory) == [Fault("dossier.key-not-valid", SECOND)]


def test_a_third_recipient_is_refused() -> None:
    third = key(f"{OTHER_INSURER}/seal/1")

    assert faults(key(OURS), key(THEIRS), third) == [
        Fault("dossier.recipient-not-on-route", "/dossier/recipients/2/header/kid")
    ]


def test_a_recipient_without_a_key_id_is_refused() -> None:
    sealed: dict[str, Any] = read_json_object(seal(b"x", [key(OURS), key(THEIRS)]).encode())
    del sealed["recipients"][1]["header"]["kid"]

    found = dossier_faults(compact(sealed).decode(), world().directory, PARTIES, NOW)

    assert found == [Fault("dossier.key-id-missing", SECOND)]


def test_nothing_sealed_is_refused() -> None:
    assert dossier_faults(seal(b"", [key(OURS), key(THEIRS)]), world().directory, PARTIES, NOW) == [
        Fault("dossier.size", "/dossier/ciphertext")
    ]


def test_faults_of_form_come_with_their_place_in_the_message() -> None:
    assert dossier_faults("no json", world().directory, PARTIES, NOW) == [Fault("dossier.malformed", "/dossier")]


@pytest.mark.parametrize("name", ["aad", "apu", "apv", "typ", "cty"])
def test_nothing_in_clear_beside_the_content_names_a_person(name: str) -> None:
    sealed: dict[str, Any] = read_json_object(seal(b"x", [key(OURS), key(THEIRS)]).encode())
    if name == "aad":
        sealed["aad"] = b64url(b"patient A123456(3), A1234563")
    else:
        sealed["unprotected"] = {name: "A1234563" if name in ("typ", "cty") else b64url(b"A1234563")}
    pointer = "/dossier/aad" if name == "aad" else f"/dossier/unprotected/{name}"

    found = dossier_faults(compact(sealed).decode(), world().directory, PARTIES, NOW)

    assert found == [Fault("field.names-a-person", pointer)]


def test_agreement_info_and_authenticated_data_that_name_the_parties_are_taken() -> None:
    sealed: dict[str, Any] = read_json_object(seal(b"x", [key(OURS), key(THEIRS)]).encode())
    sealed |= {"aad": b64url(b"szhk/1"), "unprotected": {"apu": b64url(INSURER.encode()), "typ": "JOSE+JSON"}}

    assert dossier_faults(compact(sealed).decode(), world().directory, PARTIES, NOW) == []
