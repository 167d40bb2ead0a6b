"""Notes, keys, checkpoints and cosignatures: what is written is read back, what is changed or foreign is refused."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.checkpoint import Checkpoint, cosign, open_checkpoint, parse_checkpoint, sign_checkpoint, verify_line
from audit.merkle import EMPTY_ROOT, VerificationError
from audit.note import (
    ECDSA,
    Ed25519Signer,
    MLDSA44Signer,
    Note,
    SignatureLine,
    Signer,
    VerifierKey,
    parse_note,
    parse_vkey,
    sign_text,
)
from tests.unit.audit_logs import COSIGNED_AT_S, LOG, SOURCES, WITNESS_HK, WITNESS_SZ, WITNESSES, ed25519

HEAD = Checkpoint(LOG.name, 300, b"\x11" * 32)
NAMES = st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="+"), min_size=1, max_size=40)
LINES = st.builds(SignatureLine, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=99))
TEXTS = st.text(st.characters(exclude_categories=["C"]) | st.just("\n"), max_size=200)


def _signed(*witnesses: Signer) -> Note:
    lines = [cosign(HEAD, witness, COSIGNED_AT_S) for witness in witnesses]
    return sign_checkpoint(HEAD, [LOG]).plus(lines)


@given(TEXTS, st.lists(LINES, min_size=1, max_size=16))
def test_a_note_is_read_back(text: str, lines: list[SignatureLine]) -> None:
    note = Note(text.encode() + b"\n", tuple(lines))

    assert parse_note(bytes(note)) == note


@given(st.binary(max_size=400) | TEXTS.map(str.encode))
def test_any_bytes_give_a_note_or_the_one_error(raw: bytes) -> None:
    try:
        note = parse_note(raw)
    except VerificationError:
        return

    assert bytes(note) == raw


@given(st.data())
def test_any_cut_of_a_signed_checkpoint_opens_with_fewer_lines_or_is_refused(data: st.DataObject) -> None:
    raw = bytes(_signed(WITNESS_SZ, WITNESS_HK))
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]

    try:
        opened = open_checkpoint(cut, [LOG.vkey], [witness.vkey for witness in WITNESSES])
    except VerificationError:
        return

    assert raw.startswith(bytes(opened.note))
    assert opened.checkpoint == HEAD
    assert len(opened.cosigned_by) < len(WITNESSES)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        "text\n\n— name AAAAAAA=".encode(),
        b"text\n\n- name AAAAAAAA\n",
        "text\n\n—name AAAAAAAA\n".encode(),
        "text\n\n— name  AAAAAAAA\n".encode(),
        "text\n\n— na+me AAAAAAAA\n".encode(),
        "text\n\n— na\u3000me AAAAAAAA\n".encode(),
        "text\n\n—  AAAAAAAA\n".encode(),
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— name AAAAAAB=\n".encode(),
        "text\n\n— name AAAA AAAA\n".encode(),
        "te\txt\n\n— name AAAAAAA=\n".encode(),
        "text\r\n\n— name AAAAAAA=\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        b"text\n\n" + 101 * "— name AAAAAAA=\n".encode(),
        b"x" * (1 << 20) + "\n\n— name AAAAAAA=\n".encode(),
    ],
)
def test_what_is_no_note_is_refused(raw: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_note(raw)


def test_the_text_ends_at_the_last_empty_line() -> None:
    note = parse_note("one\n\ntwo\n\n— name AAAAAAA=\n".encode())

    assert note.text == b"one\n\ntwo\n"


def test_a_hundred_signatures_are_read() -> None:
    assert len(parse_note(b"text\n\n" + 100 * "— name AAAAAAA=\n".encode()).lines) == 100


@pytest.mark.parametrize("signer", [LOG, *WITNESSES, *SOURCES.values()], ids=lambda signer: signer.name)
def test_a_verifier_key_is_read_back(signer: Signer) -> None:
    assert parse_vkey(str(signer.vkey)) == signer.vkey


@pytest.mark.parametrize("kind", [ECDSA, 0x05, 0xFF])
def test_a_key_of_another_type_is_carried_but_never_verifies(kind: int) -> None:
    key = parse_vkey(str(VerifierKey("name", kind, b"some public bytes")))

    with pytest.raises(VerificationError, match="not verified here"):
        key.verify(b"", b"")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[1:],
        lambda text: text[:-1],
        lambda text: text + "=",
        lambda text: text.replace("+", "-"),
        lambda text: text.split("+")[0],
        lambda text: text + "\n",
        lambda text: text.replace("log.", "l g."),
        lambda text: "+".join([*text.split("+")[:2], "AQ=="]),
        lambda text: text.upper(),
    ],
)
def test_a_changed_verifier_key_is_refused(change: object) -> None:
    assert callable(change)

    with pytest.raises(VerificationError):
        parse_vkey(change(str(LOG.vkey)))


@given(st.text(max_size=120))
def test_any_text_gives_a_verifier_key_or_the_one_error(text: str) -> None:
    try:
        key = parse_vkey(text)
    except VerificationError:
        return

    assert str(key) == text


@pytest.mark.parametrize(
    "body",
    [
        b"origin\n1\nAAAA\n",
        b"origin\n01\n" + HEAD.body.split(b"\n")[2] + b"\n",
        b"origin\n-1\n" + HEAD.body.split(b"\n")[2] + b"\n",
        b"origin\n9223372036854775808\n" + HEAD.body.split(b"\n")[2] + b"\n",
        "origin\n\u0661\n".encode() + HEAD.body.split(b"\n")[2] + b"\n",
        b"\n1\n" + HEAD.body.split(b"\n")[2] + b"\n",
        HEAD.body + b"extension\n",
        HEAD.body[:-1],
        b"",
    ],
)
def test_what_is_no_checkpoint_is_refused(body: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_checkpoint(body)


@given(NAMES, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_back(origin: str, size: int, root: bytes) -> None:
    head = Checkpoint(origin, size, root)

    assert parse_checkpoint(head.body) == head


def test_a_signed_and_cosigned_checkpoint_opens_with_its_times() -> None:
    raw = bytes(_signed(WITNESS_SZ, WITNESS_HK))

    opened = open_checkpoint(raw, [LOG.vkey], [WITNESS_SZ.vkey, WITNESS_HK.vkey])

    assert opened.checkpoint == HEAD
    assert opened.signed_by == (LOG.vkey,)
    assert opened.cosigned_by == {WITNESS_SZ.vkey: COSIGNED_AT_S, WITNESS_HK.vkey: COSIGNED_AT_S}


def test_lines_by_unknown_keys_are_passed_over() -> None:
    other = ed25519(LOG.name, 99)
    note = sign_checkpoint(HEAD, [LOG, other]).plus([cosign(HEAD, WITNESS_SZ, COSIGNED_AT_S)])

    opened = open_checkpoint(bytes(note), [LOG.vkey])

    assert opened.signed_by == (LOG.vkey,)
    assert opened.cosigned_by == {}


def test_a_log_may_sign_with_its_old_and_its_new_key() -> None:
    other = ed25519(LOG.name, 99)

    opened = open_checkpoint(bytes(sign_checkpoint(HEAD, [LOG, other])), [LOG.vkey, other.vkey])

    assert opened.signed_by == (LOG.vkey, other.vkey)


def test_a_checkpoint_that_only_witnesses_signed_is_refused() -> None:
    note = Note(HEAD.body, (cosign(HEAD, WITNESS_SZ, COSIGNED_AT_S),))

    with pytest.raises(VerificationError, match="no known log key"):
        open_checkpoint(bytes(note), [LOG.vkey], [WITNESS_SZ.vkey])


def test_a_log_signs_only_under_its_origin() -> None:
    with pytest.raises(VerificationError, match="origin"):
        sign_checkpoint(HEAD, [ed25519("another.example.org/log", 1)])


def test_a_known_log_s_signature_under_another_origin_is_refused() -> None:
    foreign = Checkpoint("another.example.org/log", 300, HEAD.root)
    note = Note(foreign.body, (sign_text(foreign.body, LOG),))

    with pytest.raises(VerificationError, match="origin"):
        open_checkpoint(bytes(note), [LOG.vkey])


@pytest.mark.parametrize("witness", WITNESSES, ids=["ed25519", "ml-dsa-44"])
@pytest.mark.parametrize(
    "other",
    [
        Checkpoint(HEAD.origin, 301, HEAD.root),
        Checkpoint(HEAD.origin, 300, EMPTY_ROOT),
        Checkpoint("another.example.org/log", 300, HEAD.root),
    ],
    ids=["size", "root", "origin"],
)
def test_a_cosignature_holds_for_one_checkpoint_only(witness: Signer, other: Checkpoint) -> None:
    line = cosign(HEAD, witness, COSIGNED_AT_S)

    assert verify_line(HEAD, line, witness.vkey) == COSIGNED_AT_S
    with pytest.raises(VerificationError):
        verify_line(other, line, witness.vkey)


@pytest.mark.parametrize("witness", WITNESSES, ids=["ed25519", "ml-dsa-44"])
@given(data=st.data())
def test_a_cosignature_with_a_flipped_bit_is_refused(witness: Signer, data: st.DataObject) -> None:
    line = cosign(HEAD, witness, COSIGNED_AT_S)
    at = data.draw(st.integers(0, len(line.payload) * 8 - 1))
    payload = bytearray(line.payload)

    payload[at // 8] ^= 1 << at % 8

    with pytest.raises(VerificationError):
        verify_line(HEAD, SignatureLine(line.name, line.key_id, bytes(payload)), witness.vkey)


@given(st.binary(min_size=32, max_size=32), NAMES, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_post_quantum_cosignature_makes_the_round_trip(seed: bytes, name: str, size: int, time_s: int) -> None:
    witness = MLDSA44Signer(name, MLDSA44PrivateKey.from_seed_bytes(seed))
    head = Checkpoint(LOG.name, size, HEAD.root)
    note = sign_checkpoint(head, [LOG]).plus([cosign(head, witness, time_s)])

    opened = open_checkpoint(bytes(note), [LOG.vkey], [parse_vkey(str(witness.vkey))])

    assert opened.cosigned_by == {witness.vkey: time_s}


def test_a_post_quantum_cosignature_holds_the_witness_s_name() -> None:
    renamed = MLDSA44Signer("witness.hk.example.org/w2", WITNESS_HK.private)
    line = cosign(HEAD, WITNESS_HK, COSIGNED_AT_S)

    with pytest.raises(VerificationError, match="does not verify"):
        verify_line(HEAD, SignatureLine(renamed.name, renamed.vkey.key_id, line.payload), renamed.vkey)


def test_a_name_too_long_for_the_post_quantum_form_is_refused() -> None:
    witness = MLDSA44Signer("w" * 256, WITNESS_HK.private)

    with pytest.raises(VerificationError, match="255"):
        cosign(HEAD, witness, COSIGNED_AT_S)


def test_a_log_key_does_not_cosign_and_a_witness_key_does_not_sign_texts() -> None:
    with pytest.raises(VerificationError):
        cosign(HEAD, LOG, COSIGNED_AT_S)
    with pytest.raises(VerificationError):
        sign_text(HEAD.body, WITNESS_SZ)


def test_a_signer_with_a_name_that_no_note_can_hold_is_refused() -> None:
    with pytest.raises(VerificationError):
        sign_text(b"text\n", Ed25519Signer("two words", Ed25519PrivateKey.generate()))


def test_a_cosignature_from_beyond_the_end_of_time_is_refused() -> None:
    line = cosign(HEAD, WITNESS_SZ, 2**63)

    with pytest.raises(VerificationError, match="range"):
        verify_line(HEAD, line, WITNESS_SZ.vkey)
