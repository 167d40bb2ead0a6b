"""Dossiers sealed by other libraries open: vectors of Node's `jose`, committed and made anew, and joserfc beside us."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwe
from joserfc.jwe import FlattenedJSONEncryption, GeneralJSONEncryption

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.jose import SEALS, PrivateKey, seal
from gateway.protocol.opening import open_sealed

FOLDER = Path(__file__).parent / "jose_vectors"
VECTORS = read_json_object((FOLDER / "vectors.json").read_bytes())
NAMES = sorted(VECTORS["vectors"])

NODE_MODULES = os.environ.get("SZHK_TEST_NODE_MODULES", "")  # noqa: TID251 a test's own tool
"""Folder `node_modules` in which `jose` is installed; without it the committed vectors stand alone."""


def opened_by_both(vectors: dict[str, Any], name: str) -> None:
    sealed, plain = vectors["vectors"][name], vectors["plain"].encode()
    keys = {who: PrivateKey.parse(compact(vectors[who])) for who in ("reader", "author")}

    assert open_sealed(compact(sealed).decode(), keys["reader"]) == plain
    if len(sealed.get("recipients", ())) == 2:
        assert open_sealed(compact(sealed).decode(), keys["author"]) == plain


@pytest.mark.parametrize("name", NAMES)
def test_what_nodes_jose_has_sealed_opens(name: str) -> None:
    opened_by_both(VECTORS, name)


@pytest.mark.skipif(not NODE_MODULES or shutil.which("node") is None, reason="Node and its jose are not installed")
def test_what_nodes_jose_seals_now_opens(tmp_path: Path) -> None:
    script = tmp_path / "generate.mjs"
    script.write_bytes((FOLDER / "generate.mjs").read_bytes())
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    node = str(shutil.which("node"))

    written = subprocess.run([node, str(script)], check=True, capture_output=True, timeout=60).stdout
    vectors = read_json_object(written)

    assert sorted(vectors["vectors"]) == NAMES
    for name in NAMES:
        opened_by_both(vectors, name)


READER = PrivateKey.generate("hosp-nanshan/seal/1", "X25519")
AUTHOR = PrivateKey.generate("ins-harbour/seal/1", "X25519")
CONTENT = b"synthetic content"


def test_what_we_seal_joserfc_opens() -> None:
    sealed: Any = read_json_object(seal(CONTENT, [READER.public, AUTHOR.public]).encode())
    sealed["recipients"] = sealed["recipients"][:1]

    assert jwe.decrypt_json(sealed, READER.jwk, registry=SEALS).plaintext == CONTENT


@pytest.mark.parametrize("unprotected", [None, {"alg": "ECDH-ES+A256KW"}])
@pytest.mark.parametrize("aad", [None, b"szhk"])
def test_what_joserfc_seals_in_general_form_opens_for_both(
    unprotected: dict[str, Any] | None, aad: bytes | None
) -> None:
    jar = GeneralJSONEncryption({"enc": "A256GCM"}, CONTENT, unprotected, aad)
    for key in (READER, AUTHOR):
        own = {} if unprotected else {"alg": "ECDH-ES+A256KW"}
        jar.add_recipient(own | {"kid": key.kid}, key.public.jwk)

    sealed = compact(jwe.encrypt_json(jar, None, registry=SEALS)).decode()

    assert open_sealed(sealed, READER) == open_sealed(sealed, AUTHOR) == CONTENT


def test_what_joserfc_seals_in_flattened_form_opens() -> None:
    jar = FlattenedJSONEncryption({"enc": "A256GCM", "alg": "ECDH-ES+A256KW"}, CONTENT)
    jar.add_recipient({"kid": READER.kid}, READER.public.jwk)

    sealed = compact(jwe.encrypt_json(jar, None, registry=SEALS)).decode()

    assert open_sealed(sealed, READER) == CONTENT
