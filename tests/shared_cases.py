"""Small inputs that the gateway once got wrong; they lie beside the project, and skip aloud where they are absent."""

from pathlib import Path

import pytest

CASES = Path(__file__).parents[1].parent / "shared" / "cases"


def shared_case(name: str) -> bytes:
    path = CASES / name
    if not path.exists():
        pytest.skip(f"{name} lies only in ../shared/cases, which is absent")
    return path.read_bytes()
