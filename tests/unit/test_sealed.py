"""The form of a dossier: what is read without a key, what is refused by name, what an accepting edge does not carry."""

from typing import Any

import pytest

from gateway.protocol.canonical import b64url, compact, parse_b64url, read_json_object
from gateway.protocol.errors import BadSignatureError, Fault, MalformedInputError, RefuseError
from gateway.protocol.jose import PrivateKey, seal
from gateway.protocol.opening import open_sealed
from gateway.protocol.sealed import read_sealed

READER = PrivateKey.generate("hosp-nanshan/seal/1", "X25519")
AUTHOR = PrivateKey.generate("ins-harbour/seal/1", "X25519")
CONTENT = b"synthetic content"
PERSON = "CHAN TAI MAN A1234563"


def a_dossier() -> dict[str, Any]:
    return read_json_object(seal(CONTENT, [READER.public, AUTHOR.public]).encode())


def protected(**parameters: Any) -> str:
    return b64url(compact({"enc": "A256GCM"} | parameters))


def faults_of(dossier: dict[str, Any]) -> tuple[Fault, ...]:
    with pytest.raises(RefuseError) as refused:
        read_sealed(compact(dossier).decode())
    return refused.value.faults


def test_the_form_of_a_dossier_is_read_without_a_key() -> None:
    sealed = read_sealed(compact(a_dossier()).decode())

    assert [recipient.kid for recipient in sealed.recipients] == [READER.kid, AUTHOR.kid]
    assert [recipient.kid_pointer for recipient in sealed.recipients] == [
        "/recipients/0/header/kid",
        "/recipients/1/header/kid",
    ]
    assert sealed.surplus == ()


@pytest.mark.parametrize("name", ["zip", "crit"])
@pytest.mark.parametrize("place", ["protected", "unprotected", "header"])
def test_zip_and_crit_are_refused_by_name_wherever_they_stand(name: str, place: str) -> None:
    dossier = a_dossier()
    parameters = {name: "DEF" if name == "zip" else ["exp"]}
    pointer = f"/{place}/{name}"
    if place == "protected":
        dossier["protected"] = protected(**parameters)
    elif place == "unprotected":
        dossier["unprotected"] = parameters
    else:
        dossier["recipients"][1]["header"] |= parameters
        pointer = f"/recipients/1/header/{name}"

    assert faults_of(dossier) == (Fault(f"dossier.{name}", pointer),)


@pytest.mark.parametrize("name", ["alg", "kid", "epk"])
def test_a_header_parameter_in_two_headers_is_refused(name: str) -> None:
    dossier = a_dossier()
    dossier["unprotected"] = {name: dossier["recipients"][0]["header"][name]}

    assert faults_of(dossier) == (
        Fault("dossier.header-twice", f"/recipients/0/header/{name}"),
        Fault("dossier.header-twice", f"/recipients/1/header/{name}"),
    )


@pytest.mark.parametrize(
    ("place", "name", "octets"),
    [
        ("", "iv", 11),
        ("", "iv", 16),
        ("", "tag", 12),
        ("", "tag", 0),
        ("r", "encrypted_key", 39),
        ("r", "encrypted_key", 0),
    ],
)
def test_a_part_of_another_size_than_the_algorithms_give_it_is_refused(place: str, name: str, octets: int) -> None:
    dossier = a_dossier()
    (dossier["recipients"][1] if place else dossier)[name] = b64url(bytes(octets))

    assert faults_of(dossier) == (Fault("dossier.size", f"/recipients/1/{name}" if place else f"/{name}"),)


@pytest.mark.parametrize("text", ["AA==", "A+/A", "A A", "A", "é", 7, None])
@pytest.mark.parametrize("name", ["protected", "iv", "ciphertext", "tag"])
def test_a_part_that_is_not_base64url_is_refused_with_its_place(name: str, text: Any) -> None:
    assert Fault("dossier.malformed", f"/{name}") in faults_of(a_dossier() | {name: text})


@pytest.mark.parametrize(
    "epk",
    [
        None,
        {},
        {"kty": "OKP", "crv": "Ed25519", "x": READER.public.x},
        {"kty": "EC", "crv": "P-256", "x": READER.public.x, "y": READER.public.x},
        {"kty": "OKP", "crv": "X25519", "x": b64url(bytes(31))},
        {"kty": "OKP", "crv": "X25519", "x": READER.public.x, "d": READER.public.x},
    ],
)
def test_an_ephemeral_key_that_is_not_a_public_key_of_x25519_is_refused(epk: Any) -> None:
    dossier = a_dossier()
    dossier["recipients"][1]["header"]["epk"] = epk

    assert faults_of(dossier) == (Fault("dossier.ephemeral-key", "/recipients/1/header/epk"),)


def test_an_ephemeral_key_of_small_order_does_not_open() -> None:
    dossier = a_dossier()
    dossier["recipients"][0]["header"]["epk"]["x"] = b64url(bytes(32))

    with pytest.raises(BadSignatureError, match=r"dossier\.cannot-open"):
        open_sealed(compact(dossier).decode(), READER)


def test_every_fault_is_named_at_once() -> None:
    dossier = a_dossier() | {"iv": "AA==", "tag": b64url(bytes(3))}
    dossier["recipients"][0]["header"]["alg"] = "RSA-OAEP-256"
    dossier["recipients"][1]["encrypted_key"] = b64url(bytes(3))

    assert faults_of(dossier) == (
        Fault("dossier.malformed", "/iv"),
        Fault("dossier.size", "/tag"),
        Fault("dossier.algorithm", "/recipients/0/header/alg"),
        Fault("dossier.size", "/recipients/1/encrypted_key"),
    )


@pytest.mark.parametrize("raw", ["", "no json", "[]", '{"a":1,"a":2}', "eyJ.eyJ.a.b.c", "\ud800"])
def test_what_is_no_json_object_is_no_dossier(raw: str) -> None:
    with pytest.raises(MalformedInputError) as refused:
        read_sealed(raw)

    assert (refused.value.code, refused.value.faults) == ("dossier.malformed", (Fault("dossier.malformed"),))


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"note": PERSON}, ""),
        ({"unprotected": {"note": PERSON}}, "/unprotected"),
        ({"unprotected": {"typ": PERSON}}, "/unprotected/typ"),
        ({"unprotected": {"apu": b64url(PERSON.encode() * 4)}}, "/unprotected/apu"),
        ({"unprotected": {"x": 1e3}}, "/unprotected"),
    ],
)
def test_text_in_clear_that_the_protocol_does_not_know_is_surplus_and_never_repeated(
    members: dict[str, Any], pointer: str
) -> None:
    sealed = read_sealed(compact(a_dossier() | members).decode())

    assert sealed.surplus == (Fault("dossier.not-carried", pointer),)


def test_a_reader_ignores_members_and_parameters_that_nobody_defined() -> None:
    dossier = a_dossier() | {"note": "synthetic", "unprotected": {"example.org": 1}}

    assert open_sealed(compact(dossier).decode(), READER) == CONTENT


def test_a_recipient_without_a_key_id_is_tried_where_none_names_the_key() -> None:
    dossier = a_dossier()
    for recipient in dossier["recipients"]:
        del recipient["header"]["kid"]

    sealed = compact(dossier).decode()

    assert open_sealed(sealed, READER) == open_sealed(sealed, AUTHOR) == CONTENT
    with pytest.raises(BadSignatureError, match=r"dossier\.cannot-open"):
        open_sealed(sealed, PrivateKey.generate(READER.kid, "X25519"))


def test_any_of_several_keys_of_a_reader_opens() -> None:
    newer = PrivateKey.generate("hosp-nanshan/seal/2", "X25519")

    assert open_sealed(compact(a_dossier()).decode(), newer, READER) == CONTENT


def test_a_changed_protected_header_does_not_open_although_it_says_the_same() -> None:
    dossier = a_dossier()
    assert parse_b64url(dossier["protected"]) == b'{"enc":"A256GCM"}'
    dossier["protected"] = b64url(b'{"enc": "A256GCM"}')

    with pytest.raises(BadSignatureError, match=r"dossier\.cannot-open"):
        open_sealed(compact(dossier).decode(), READER)
