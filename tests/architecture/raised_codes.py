"""Every error code in the sources, read from their syntax trees: what is raised, and what a fault carries."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.protocol import errors
from gateway.protocol.identifiers import SCHEMES

ROOT = Path(__file__).parents[2]
ROOMS = ("gateway", "adapters", "settlement", "audit")

ERRORS = frozenset(
    name for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, errors.GatewayError)
)
PYDANTIC_TYPES = frozenset(
    (
        "bool_type", "date_from_datetime_parsing", "datetime_from_date_parsing", "datetime_type", "dict_type",
        "enum", "extra_forbidden", "float_parsing", "greater_than_equal", "int_from_float", "int_parsing",
        "int_type", "less_than_equal", "list_type", "literal_error", "missing", "model_type",
        "string_pattern_mismatch", "string_too_long", "string_too_short", "string_type", "timezone_aware",
        "too_long", "too_short", "tuple_type",
    )
)  # fmt: skip
"""Error types of pydantic that our models can give: each is a code `field.<type>` in a refusal's faults."""


REPORTERS = frozenset(("Fault", "fault", "warn", "broke", "also"))
"""What makes a fault of a code: the class, and the collectors of a bill's faults."""

COMPUTED = frozenset(
    (
        "gateway/client/transport.py",  # reads what a gateway answered
        "gateway/protocol/canonical.py",  # the codes of JSON, each with its place added
        "gateway/protocol/acceptance.py",  # literals of the `…_fault` checks of its table
        "gateway/protocol/dossier_checks.py",  # literals of `_key_fault`, and what the reader of the form found
        "gateway/protocol/errors.py",  # an error without faults becomes one
        "gateway/protocol/exchange.py",  # pydantic's types
        "gateway/protocol/fhir/wire.py",  # pydantic's types, by a table of literals
        "gateway/protocol/sealed.py",  # `dossier.zip` and `dossier.crit`, by name
        "gateway/protocol/identifier_checks.py",  # one code a scheme
        "gateway/runtime/web/http.py",  # pydantic's types
        "gateway/runtime/web/parameters.py",  # the same
        "gateway/sandbox/bank.py",  # a bank's faults, no codes of ours
        "gateway/sandbox/bank_journal.py",  # the same
        "adapters/hk/desk/form.py",  # passes on what a parser raised
        "adapters/sz/actions/intake.py",  # passes on what was found
        "adapters/sz/bill.py",  # literals of `_refund_fault`
        "adapters/sz/checks_identifiers.py",  # passes on what a parser raised
        "adapters/sz/checks_money.py",  # passes on a bill's faults
        "adapters/sz/checks_receipts.py",  # literals of its table
        "adapters/sz/findings.py",  # the collectors themselves
        "adapters/sz/reading.py",  # the same
        "adapters/sz/showing.py",  # reads what core wrote
    )
)
"""Files in which a code is computed, and from what; the scan reads literals only."""

_CODE = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+")


@dataclass(frozen=True, order=True)
class Raised:
    code: str
    where: str


def sources() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def raised() -> Iterator[Raised]:
    """Yield each code that stands as a literal where an error or fault is made, and the families made from names."""
    for where, tree in sources():
        yield from (Raised(code, where) for call in _calls(tree) for code in _codes(call))
        yield from (Raised(code, where) for code in _returned_by_fault_functions(tree))
    yield from (Raised(f"identifier.{scheme}", "gateway/protocol/identifiers.py") for scheme in SCHEMES)
    yield from (Raised(_field_code(kind), "pydantic") for kind in PYDANTIC_TYPES)
    yield Raised("internal", "gateway/protocol/errors.py")


def written() -> frozenset[str]:
    """Return every literal of the sources that has the form of a code, wherever it stands."""
    literals = {
        node.value
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CODE.fullmatch(node.value)
    }
    return frozenset(literals | {one.code for one in raised()})


def computed() -> frozenset[str]:
    """Return the files in which a code is computed where an error or fault is made."""
    return frozenset(where for where, tree in sources() for call in _calls(tree) if call.args and not _codes(call))


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in {*ERRORS, *REPORTERS, "PydanticCustomError"}:
            yield node


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _codes(call: ast.Call) -> list[str]:
    """Read the first argument where it is a literal, or both arms where it is a choice between two."""
    arguments = [*call.args[:1], *(one.value for one in call.keywords if one.arg == "code")]
    arms = [arm for one in arguments for arm in ((one.body, one.orelse) if isinstance(one, ast.IfExp) else (one,))]
    texts = [arm.value for arm in arms if isinstance(arm, ast.Constant) and isinstance(arm.value, str)]
    if _called(call) == "PydanticCustomError":
        return [_field_code(text) for text in texts]
    return [text for text in texts if _CODE.fullmatch(text)]


def _returned_by_fault_functions(tree: ast.Module) -> Iterator[str]:
    """Yield codes that functions named `…_fault` return for their caller to report."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name.endswith("_fault"):
            for node in ast.walk(function):
                text = node.value if isinstance(node, ast.Constant) else None
                if isinstance(text, str) and _CODE.fullmatch(text):
                    yield text


def _field_code(kind: str) -> str:
    return f"field.{kind.replace('_', '-')}"
