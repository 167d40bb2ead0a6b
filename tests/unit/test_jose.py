"""Sign, verify, seal, open: what another key, another header or another type of token gets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.canonical import b64url, compact, parse_b64url, read_json
from gateway.protocol.errors import BadSignatureError, GatewayError, MalformedInputError
from gateway.protocol.jose import PrivateKey, PublicKey, Typ, key_id, seal, sign, verify
from gateway.protocol.opening import open_sealed

KEY = PrivateKey.generate("a/sign/1", "Ed25519")
OTHER = PrivateKey.generate("b/sign/1", "Ed25519")
TWIN = PrivateKey.generate("a/sign/1", "Ed25519")
READER = PrivateKey.generate("a/seal/1", "X25519")
STRANGER = PrivateKey.generate("b/seal/1", "X25519")
READER_TWIN = PrivateKey.generate("a/seal/1", "X25519")
PAYLOAD = b'{"amount_minor":120000}'


def with_header(token: str, **members: Any) -> str:
    head, payload, signature = token.split(".")
    header = {**read_json(parse_b64url(head)), **members}
    kept = {name: value for name, value in header.items() if value is not None}
    return ".".join((b64url(compact(kept)), payload, signature))


@given(st.binary(max_size=200), st.sampled_from(Typ))
def test_what_was_signed_verifies_and_signing_again_gives_the_same_token(payload: bytes, typ: Typ) -> None:
    token = sign(payload, KEY, typ)

    assert verify(token, KEY.public, typ) == payload
    assert key_id(token, typ) == KEY.kid
    assert sign(payload, KEY, typ) == token


def test_another_key_does_not_verify_even_under_the_same_id() -> None:
    token = sign(PAYLOAD, KEY, Typ.MANIFEST)

    with pytest.raises(BadSignatureError, match=r"jws\.key"):
        verify(token, OTHER.public, Typ.MANIFEST)
    with pytest.raises(BadSignatureError, match=r"jws\.signature"):
        verify(token, TWIN.public, Typ.MANIFEST)


@pytest.mark.parametrize("typ", sorted(set(Typ) - {Typ.MANIFEST}))
def test_a_token_of_one_kind_never_stands_for_another(typ: Typ) -> None:
    token = sign(PAYLOAD, KEY, Typ.MANIFEST)

    with pytest.raises(BadSignatureError, match=r"jws\.algorithm"):
        verify(token, KEY.public, typ)
    with pytest.raises(BadSignatureError, match=r"jws\.signature"):
        verify(with_header(token, typ=str(typ)), KEY.public, typ)


@pytest.mark.parametrize("alg", ["none", "HS256", "EdDSA", "ES256", "ed25519", "", 1, ["Ed25519"]])
def test_the_token_never_chooses_the_algorithm(alg: object) -> None:
    with pytest.raises(BadSignatureError, match=r"jws\.algorithm"):
        verify(with_header(sign(PAYLOAD, KEY, Typ.MANIFEST), alg=alg), KEY.public, Typ.MANIFEST)


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["exp"]},
        {"jku": "https://example.test/jwks"},
        {"x5u": "https://example.test/x5u"},
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": OTHER.public.x}},
        {"zip": "DEF"},
        {"b64": False, "crit": ["b64"]},
        {"cty": "JWT"},
        {"kid": None},
        {"typ": None},
        {"alg": None},
        {"kid": 1},
    ],
)
def test_a_header_with_more_or_less_than_alg_kid_and_typ_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(MalformedInputError, match=r"jws\.header"):
        verify(with_header(sign(PAYLOAD, KEY, Typ.STAMP), **members), KEY.public, Typ.STAMP)


def test_a_header_that_names_a_member_twice_is_refused() -> None:
    _, payload, signature = sign(PAYLOAD, KEY, Typ.STAMP).split(".")
    twice = b64url(b'{"alg":"none","alg":"Ed25519","kid":"a/sign/1","typ":"szhk-stamp+jws"}')

    with pytest.raises(MalformedInputError, match=r"json\.duplicate-key"):
        verify(f"{twice}.{payload}.{signature}", KEY.public, Typ.STAMP)


@given(st.integers(0, 2**31), st.integers(1, 255))
def test_a_changed_character_is_noticed(place: int, step: int) -> None:
    token = sign(PAYLOAD, KEY, Typ.STAMP).encode()
    at = place % len(token)
    changed = token[:at] + bytes([(token[at] + step) % 128 or 65]) + token[at + 1 :]
    if changed == token:
        return

    with pytest.raises((BadSignatureError, MalformedInputError)):
        verify(changed.decode("latin-1"), KEY.public, Typ.STAMP)


@given(st.text(max_size=80) | st.lists(st.text(max_size=30), min_size=3, max_size=3).map(".".join))
def test_any_text_is_refused_as_a_token(token: str) -> None:
    with pytest.raises((BadSignatureError, MalformedInputError)):
        verify(token, KEY.public, Typ.STAMP)


@given(st.text(max_size=60))
def test_a_public_key_of_any_text_verifies_nothing(x: str) -> None:
    with pytest.raises((BadSignatureError, MalformedInputError)):
        verify(sign(PAYLOAD, KEY, Typ.STAMP), PublicKey(KEY.kid, "Ed25519", x), Typ.STAMP)


def test_a_key_file_reads_back_and_its_secret_is_never_shown() -> None:
    read = PrivateKey.parse(KEY.encode())
    secret = read_json(KEY.encode())["d"]

    assert read.public == KEY.public
    assert sign(PAYLOAD, read, Typ.STAMP) == sign(PAYLOAD, KEY, Typ.STAMP)
    assert secret not in repr(KEY) + str(KEY) + repr(KEY.public)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[]",
        b"nothing",
        compact({"kty": "OKP", "crv": "Ed25519", "x": KEY.public.x, "kid": "public/only/1"}),
        compact({"kty": "oct", "k": "AAAA", "kid": "a"}),
        compact({"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA", "kid": "short"}),
        compact({name: value for name, value in read_json(KEY.encode()).items() if name != "kid"}),
    ],
)
def test_a_file_that_holds_no_private_key_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedInputError):
        PrivateKey.parse(raw)


@given(st.binary(max_size=500))
def test_each_reader_opens_what_was_sealed_and_nobody_else_does(content: bytes) -> None:
    dossier = seal(content, [READER.public, STRANGER.public])

    assert open_sealed(dossier, READER) == content
    assert open_sealed(dossier, STRANGER) == content
    with pytest.raises(BadSignatureError, match=r"dossier\.cannot-open"):
        open_sealed(seal(content, [STRANGER.public]), READER)


def test_another_key_under_the_reader_s_id_cannot_open() -> None:
    with pytest.raises(BadSignatureError, match=r"dossier\.cannot-open"):
        open_sealed(seal(b"content", [READER.public]), READER_TWIN)


def test_sealing_twice_never_gives_the_same_text() -> None:
    assert seal(b"content", [READER.public]) != seal(b"content", [READER.public])


def a_sealed() -> dict[str, Any]:
    found: dict[str, Any] = read_json(seal(b"content", [READER.public]).encode())
    return found


@pytest.mark.parametrize("member", ["protected", "iv", "ciphertext", "tag"])
def test_a_tampered_dossier_does_not_open(member: str) -> None:
    found = a_sealed()
    first = found[member][0]
    found[member] = ("B" if first == "A" else "A") + found[member][1:]

    with pytest.raises((BadSignatureError, MalformedInputError)):
        open_sealed(compact(found).decode(), READER)


@pytest.mark.parametrize(
    "protected",
    [
        {"enc": "A128GCM"},
        {"enc": "A256GCM", "zip": "DEF"},
        {"enc": "A256GCM", "alg": "dir"},
        {"enc": "A256GCM", "crit": ["exp"]},
        {},
    ],
)
def test_a_dossier_never_chooses_its_encryption(protected: dict[str, Any]) -> None:
    with pytest.raises(BadSignatureError, match=r"dossier\.algorithm"):
        open_sealed(compact(a_sealed() | {"protected": b64url(compact(protected))}).decode(), READER)


@pytest.mark.parametrize("alg", ["dir", "ECDH-ES", "ECDH-ES+A128KW", "RSA1_5", "PBES2-HS256+A128KW"])
def test_a_recipient_never_chooses_the_key_agreement(alg: str) -> None:
    found = a_sealed()
    found["recipients"][0]["header"]["alg"] = alg

    with pytest.raises(BadSignatureError, match=r"dossier\.algorithm"):
        open_sealed(compact(found).decode(), READER)


@pytest.mark.parametrize("members", [{"aad": "a b"}, {"unprotected": []}, {"recipients": {}}, {"iv": 1}])
def test_a_dossier_of_another_form_is_malformed(members: dict[str, Any]) -> None:
    with pytest.raises(MalformedInputError, match=r"dossier\.malformed"):
        open_sealed(compact(a_sealed() | members).decode(), READER)


def test_authenticated_data_that_was_added_later_does_not_open() -> None:
    with pytest.raises(BadSignatureError, match=r"dossier\.cannot-open"):
        open_sealed(compact(a_sealed() | {"aad": "AAAA"}).decode(), READER)


def test_a_dossier_that_names_its_reader_twice_does_not_open() -> None:
    found = a_sealed()
    found["recipients"] *= 2

    with pytest.raises(BadSignatureError, match=r"dossier\.cannot-open"):
        open_sealed(compact(found).decode(), READER)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["protected", "iv", "ciphertext", "tag", "recipients"]), JSON)
def test_any_value_in_any_member_is_refused(member: str, value: Any) -> None:
    with pytest.raises(GatewayError):
        open_sealed(compact(a_sealed() | {member: value}).decode(), READER)


@given(st.sampled_from(["header", "encrypted_key"]), JSON)
def test_any_value_in_a_recipient_is_refused(member: str, value: Any) -> None:
    found = a_sealed()
    found["recipients"][0][member] = value

    with pytest.raises(GatewayError):
        open_sealed(compact(found).decode(), READER)


@given(JSON | st.dictionaries(st.sampled_from(["kty", "crv", "x", "y"]), JSON))
def test_any_value_as_the_ephemeral_key_is_refused(value: Any) -> None:
    found = a_sealed()
    found["recipients"][0]["header"]["epk"] = value

    with pytest.raises(GatewayError):
        open_sealed(compact(found).decode(), READER)
