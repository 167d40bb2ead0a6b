"""RFC 8785: the outside test vectors, byte for byte."""

import json
from pathlib import Path

import pytest

from gateway.protocol.canonical import canonical

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "jcs"
NAMES = sorted(path.stem for path in VECTORS.glob("input/*.json"))

pytestmark = pytest.mark.skipif(not NAMES, reason=f"no RFC 8785 vectors in {VECTORS.name} beside the project")


@pytest.mark.parametrize("name", NAMES)
def test_the_canonical_form_of_each_input_is_the_output_byte_for_byte(name: str) -> None:
    value = json.loads((VECTORS / "input" / f"{name}.json").read_bytes())  # noqa: TID251 the vectors hold floats

    raw = canonical(value)

    assert raw == (VECTORS / "output" / f"{name}.json").read_bytes()
    assert raw == bytes.fromhex((VECTORS / "outhex" / f"{name}.txt").read_text(encoding="ascii"))


def test_all_six_vectors_are_there() -> None:
    assert NAMES == ["arrays", "french", "structures", "unicode", "values", "weird"]
