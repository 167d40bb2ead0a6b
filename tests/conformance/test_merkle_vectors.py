"""Every inclusion and consistency vector of the transparency-dev Merkle test data, accepted or refused as it says."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from audit.merkle import VerificationError, verify_consistency, verify_inclusion
from gateway.protocol.canonical import read_json_object

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "merkle"
COUNT = 98


def _vectors(kind: str) -> list[Any]:
    found = sorted((VECTORS / kind).rglob("*.json"))
    if not found:
        reason = "the shared vector folder is not beside this checkout"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(path, id=path.relative_to(VECTORS).as_posix()) for path in found]


def _read(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    vector = read_json_object(path.read_bytes())
    return vector, [b64decode(item) for item in vector["proof"] or []]


@pytest.mark.parametrize("path", _vectors("inclusion"))
def test_an_inclusion_vector_is_accepted_or_refused_as_it_says(path: Path) -> None:
    vector, proof = _read(path)
    leaf, root = b64decode(vector["leafHash"] or ""), b64decode(vector["root"] or "")

    def verify() -> None:
        verify_inclusion(vector["leafIdx"], vector["treeSize"], leaf, proof, root)

    _expect(verify, refused=vector["wantErr"])


@pytest.mark.parametrize("path", _vectors("consistency"))
def test_a_consistency_vector_is_accepted_or_refused_as_it_says(path: Path) -> None:
    vector, proof = _read(path)
    old_root, new_root = b64decode(vector["root1"] or ""), b64decode(vector["root2"] or "")

    def verify() -> None:
        verify_consistency(vector["size1"], vector["size2"], old_root, new_root, proof)

    _expect(verify, refused=vector["wantErr"])


@pytest.mark.skipif(not VECTORS.exists(), reason="the shared vector folder is not beside this checkout")
@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_no_vector_is_left_out(kind: str) -> None:
    assert len(list((VECTORS / kind).rglob("*.json"))) == COUNT


def _expect(verify: Any, *, refused: bool) -> None:
    if refused:
        with pytest.raises(VerificationError):
            verify()
    else:
        verify()
