"""Every setting of a role, for people; a page of `reference_pages`.

A setting's meaning is the docstring under its field in `gateway/runtime/settings.py`; what the sources leave to its
name stands here.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.runtime import settings
from gateway.runtime.settings import RoleSettings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"

HEAD = """# Settings

Generated from `gateway/runtime/settings.py` by `make pages`; do not edit. Each role has a folder with `settings.toml`.
Strongest first: arguments of the command, environment (`GATEWAY_` and the name in capitals), one file a setting in
`secrets/` (`gateway_` and the name), `settings.toml`. Paths are relative to the folder. A name that is not in this
table is refused, so that a misspelt limit is not silently the default. Names that end in `_s` are seconds, in `_days`
days, in `_bytes_max` bytes.

## Every role

| name | value | default | meaning |
|---|---|---|---|
"""

EXTRA_HEAD = """
## `[extra]`, by role

What only one role knows. All are text, and a role does not start without its own, `inception` aside.

| role | name | meaning |
|---|---|---|
"""

MEANINGS: Mapping[str, str] = {
    "folder": "The role's folder: an argument, never a line of the file.",
    "role": "What this process is.",
    "custody": "Who holds the keys of the parties it serves: they themselves, or the operator. Stamps repeat it.",
    "database_writers": "Connections to PostgreSQL that write; see `database_readers`.",
    "kafka_password_file": "The SCRAM password, read again whenever a client is built.",
    "kafka_ca_file": "The certificate authority of the brokers, as PEM.",
    "kafka_send_s": "How long a send may take before its outcome counts as unknown and it is sent again.",
    "kafka_poll_s": "How long a member may work on one batch before the group takes its partitions away.",
    "kafka_stop_s": "How long a client may take to stop before it is left behind.",
    "kafka_probe_s": "How long the broker may take to answer a probe.",
    "kafka_probe_every_s": "How often the broker is probed.",
    "kafka_unready_s": "How long without an answer until the role says that it is not ready.",
    "kafka_rebuild_s": "How long without an answer until the client is thrown away and built anew.",
    "kafka_back_off_s": "The first pause before a client is built anew; it doubles.",
    "kafka_back_off_s_max": "The longest of these pauses.",
    "keys": "Folder of the private keys (JWK, mode 600), the storage key and tokens.",
    "trust_file": "The offline root's public key, and the lowest registry release to start from.",
    "registry_folder": "Signed releases and bank accounts; only `core` reads it.",
    "outbox_rows_max": "Messages that may wait to be sent; beyond it intake answers 503 `admission.outbox-full`.",
    "outbox_bytes_max": "The same in bytes.",
    "bill_bytes_max": "The largest bill that the hospital's edge reads.",
    "failpoint": "For tests: where and how the process fails, e.g. `relay.after_send=kill@2`.",
    "log_level": "The least severe line that is logged.",
    "outbox_days": "How long sent messages are kept, to be sent again to a bus that lost them.",
    "idempotency_days": "How long answers under an `Idempotency-Key` are kept; those about money are never dropped.",
    "bus_days": "How long the embedded bus keeps what every reader has read.",
}

EXTRA: Mapping[str, Mapping[str, str]] = {
    "sz": {
        "format.<hospital>": "The bill format of a hospital that this edge serves, e.g. `national_json`; a line each.",
        "institutions.<hospital>": "The national codes of its institutions (`fixmedins_code`), separated by blanks.",
        "pins": "File with the public keys of insurers to which this edge seals, whatever a release says.",
    },
    "core": {
        "bank_profile": "A bank's channel, rail and options; a pattern, e.g. `bank-profile*.json`, for several.",
        "calendar": "File with the days on which the bank is open.",
    },
    "hk": {},
    "insurer": {
        "party": "The insurer's code in the registry.",
        "client_id": "The client under which the desk logs in at `hk`.",
        "hk_url": "Where `hk` answers, with its prefix.",
    },
    "audit": {
        "log_domain": "The domain in the log's name, `<domain>/szhk-audit/<year>`.",
        "inception": "The first day of the log, for people; no code reads it.",
        "policy": "File with the log's witnesses and the quorum (tlog-policy).",
    },
    "witness": {"log_vkeys": "Verifier keys of the logs that it cosigns, separated by spaces."},
}


def docstrings() -> dict[str, str]:
    """Return the string under each field of the model, as one line."""
    [model] = [
        node
        for node in ast.parse(inspect.getsource(settings)).body
        if isinstance(node, ast.ClassDef) and node.name == RoleSettings.__name__
    ]
    texts = {}
    for field, text in zip(model.body, model.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(text):
            texts[field.target.id] = " ".join(ast.literal_eval(text.value).split())  # type: ignore[attr-defined]
    return texts


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def page() -> str:
    return HEAD + "".join(_lines()) + EXTRA_HEAD + "".join(_extra_lines())


def _lines() -> Iterator[str]:
    texts = docstrings()
    for name, field in RoleSettings.model_fields.items():
        if name != "extra":
            meaning = texts.get(name) or MEANINGS[name]
            yield f"| `{name}` | {_value(field)} | {_default(field)} | {_cell(meaning)} |\n"


def _extra_lines() -> Iterator[str]:
    for role, names in EXTRA.items():
        for name, meaning in names.items():
            yield f"| `{role}` | `{name}` | {_cell(meaning)} |\n"


def _value(field: FieldInfo) -> str:
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(field.annotation))
    names = {str: "text", int: "whole number", float: "number", Path: "path"}
    limits = [limit for constraint in field.metadata for limit in _limits(constraint)]
    return " ".join([names[kinds[0]], ", ".join(limits)]).strip()


def _limits(constraint: Any) -> Iterator[str]:
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most", "max_length": "of at most"}
    for attribute, word in words.items():
        if getattr(constraint, attribute, None) is not None:
            unit = " characters" if attribute == "max_length" else ""
            yield f"{word} {getattr(constraint, attribute):,}{unit}"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "none: it must be given"
    if field.default in ("", None):
        return "not set"
    return f"`{field.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
