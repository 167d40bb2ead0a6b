"""Every field that our code logs is on the allow-list: what is not would be dropped without anybody noticing."""

import ast
from collections.abc import Iterator
from pathlib import Path

from gateway.runtime.signals.observability import FIELDS

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged() -> Iterator[tuple[str, str]]:
    """Yield (place, field) of every `log.<level>(event, field=…)`."""
    for room in ("gateway", "adapters", "settlement", "audit"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                if node.func.attr in LEVELS and ast.unparse(node.func.value) == "log":
                    yield from ((f"{path.name}:{node.lineno}", str(one.arg)) for one in node.keywords)


def test_every_logged_field_is_on_the_allow_list() -> None:
    found = list(logged())

    assert found
    assert [one for one in found if one[1] not in FIELDS] == []
