"""A reference page of a role's API, rendered here from its OpenAPI document; works without network or script.

`/reference` is the page, `/openapi.json` the document itself (OpenAPI 3.1), with what every operation shares written
in: failures are problem+json (RFC 9457), and an operation that asks for a scope says so.
"""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from jinja2 import Environment, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from starlette.responses import Response

from gateway.protocol.canonical import compact, pretty

POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
DEPTH_MAX = 8
JSON_ONLY = {"application/json"}
PROBLEM_SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "A failure (RFC 9457). It never carries a value that was sent.",
    "type": "object",
    "required": ["type", "title", "status", "code", "fix", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "`urn:szhk:problem:` and the code"},
        "title": {
            "type": "string",
            "description": "What is wrong, in one sentence, in the language of `Accept-Language`",
        },
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; programs decide by it"},
        "fix": {"type": "string", "description": "What to do, in the language of `Accept-Language`"},
        "request_id": {"type": "string", "description": "As in `X-Request-Id`; tell it to the operator"},
        "errors": {
            "type": "array",
            "description": "Everything that is wrong at once",
            "items": {
                "type": "object",
                "required": ["code", "pointer", "detail", "fix"],
                "properties": {
                    "code": {"type": "string"},
                    "pointer": {"type": "string", "description": "JSON Pointer (RFC 6901) into the body"},
                    "detail": {"type": "string", "description": "As `title`, of this fault"},
                    "fix": {"type": "string"},
                    "maximum": {"description": "The most that the field takes, where it is out of bounds"},
                    "minimum": {"description": "The least that the field takes, where it is out of bounds"},
                    "line": {"type": "integer", "description": "Where JSON is refused, from 1"},
                    "column": {"type": "integer", "description": "In characters, from 1"},
                },
            },
        },
        "allowed_actions": {
            "type": "array",
            "description": "What the state would allow instead",
            "items": {"type": "string"},
        },
    },
}
_SHARED = {"401": "No access token, or one that no longer holds", "403": "The token lacks the scope"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a schema's tree: `depth` steps in."""

    depth: int
    name: str
    type: str
    required: bool
    text: str


def reference_routes(app: FastAPI) -> APIRouter:
    """`/reference`, `/reference.css` and `/openapi.json` of `app`; include them last."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/reference")
    async def get_reference(request: Request) -> Response:
        found = document(app, request.scope.get("root_path", ""))
        page = template("reference.html").render(
            document=found, groups=_groups(found), problem=list(_tree(PROBLEM_SCHEMA, found))
        )
        return Response(page, 200, {"content-security-policy": POLICY}, "text/html")

    @routes.get("/reference.css")
    async def get_style() -> Response:
        style = files(__package__).joinpath("reference.css").read_bytes()
        return Response(style, 200, {"cache-control": "max-age=3600"}, "text/css")

    @routes.get("/openapi.json")
    async def get_openapi(request: Request) -> Response:
        return Response(compact(document(app, request.scope.get("root_path", ""))), 200, None, "application/json")

    return routes


def document(app: FastAPI, root_path: str = "") -> dict[str, Any]:
    """Return the app's OpenAPI document with the shared failures; `root_path` is where the app is mounted."""
    found = copy.deepcopy(app.openapi())
    if root_path:
        found["servers"] = [{"url": root_path}]
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = copy.deepcopy(dict(PROBLEM_SCHEMA))
    for _, _, operation in _operations(found):
        responses = operation["responses"]
        if operation.get("security"):
            responses |= {code: {"description": text} for code, text in _SHARED.items() if code not in responses}
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schemas |= content["schema"].pop("$defs", {})
        responses.setdefault("default", {"description": "Every other failure"})
        for status, response in responses.items():
            # FastAPI declares its own form of a 422; another content is the route's own
            if not status.startswith(("1", "2", "3")) and set(response.get("content", JSON_ONLY)) == JSON_ONLY:
                response["content"] = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
                if status == "422":
                    response["description"] = "Well-formed but wrong: all faults at once"
    return found


def _operations(found: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _groups(found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Arrange operations by their first tag, ready to be shown."""
    root = found.get("servers", [{"url": ""}])[0]["url"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, method, operation in _operations(found):
        shown = {
            "anchor": re.sub(r"[^a-z0-9]+", "-", f"{method}{path}".lower()).strip("-"),
            "method": method.upper(),
            "path": root + path,
            "summary": operation.get("summary", ""),
            "text": operation.get("description", ""),
            "scopes": [scope for one in operation.get("security", ()) for scopes in one.values() for scope in scopes],
            "parameters": [_parameter(one, found) for one in operation.get("parameters", ())],
            "bodies": _contents(operation.get("requestBody", {}), found),
            "responses": [_response(code, one, found) for code, one in sorted(operation["responses"].items())],
        }
        groups.setdefault((operation.get("tags") or ["other"])[0], []).append(shown)
    return groups


def _parameter(parameter: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    schema = _resolved(parameter.get("schema", {}), found)
    return {
        "name": parameter["name"],
        "place": parameter["in"],
        "required": parameter.get("required", False),
        "type": _type(schema, found),
        "text": _text(schema | {"description": parameter.get("description", schema.get("description", ""))}),
    }


def _response(status: str, response: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    phrase = HTTPStatus(int(status)).phrase if status.isdecimal() else ""
    bodies = [] if not status.startswith("2") else _contents(response, found)
    return {"status": status, "phrase": phrase, "text": response.get("description", ""), "bodies": bodies}


def _contents(holder: Mapping[str, Any], found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the media types of a body with schema tree and examples."""
    return [
        {
            "media_type": media_type,
            "rows": list(_tree(content.get("schema", {}), found)),
            "examples": [pretty(one) for one in _examples(content, found)],
        }
        for media_type, content in holder.get("content", {}).items()
    ]


def _examples(content: Mapping[str, Any], found: Mapping[str, Any]) -> list[Any]:
    if "example" in content:
        return [content["example"]]
    if "examples" in content:
        return [one["value"] for one in content["examples"].values() if "value" in one]
    schema = _resolved(content.get("schema", {}), found)
    return list(schema.get("examples", ()))[:1]


def _tree(schema: Mapping[str, Any], found: Mapping[str, Any], depth: int = 0) -> Iterator[Row]:
    """Walk an object's fields, depth first; a schema that contains itself ends at `DEPTH_MAX`."""
    if depth > DEPTH_MAX:
        return
    for holder in _branches(schema, found):
        required = holder.get("required", ())
        for name, given in holder.get("properties", {}).items():
            field = _resolved(given, found)
            yield Row(depth, name, _type(field, found), name in required, _text(field))
            yield from _tree(field, found, depth + 1)


def _branches(schema: Mapping[str, Any], found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the objects a schema stands for: itself, its items, or each of its alternatives."""
    plain = _resolved(schema, found)
    if "items" in plain:
        return _branches(plain["items"], found)
    alternatives: Sequence[Mapping[str, Any]] = plain.get("anyOf") or plain.get("oneOf") or plain.get("allOf") or ()
    return [plain, *(branch for one in alternatives for branch in _branches(one, found))]


def _resolved(schema: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return dict(schema)
    target: Any = found
    for part in str(schema["$ref"]).removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{name: value for name, value in schema.items() if name != "$ref"}}


def _type(schema: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " | ".join(f'"{value}"' for value in schema["enum"])
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return " | ".join(dict.fromkeys(_type(_resolved(one, found), found) for one in alternatives))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"{_type(_resolved(schema.get('items', {}), found), found)}[]"
    return f"{kind} ({schema['format']})" if "format" in schema else str(kind)


_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "minLength": "from {} characters",
    "maxLength": "up to {} characters",
    "minItems": "from {} items",
    "maxItems": "up to {} items",
    "pattern": "`{}`",
    "default": "otherwise `{}`",
}


def _text(schema: Mapping[str, Any]) -> str:
    limits = [form.format(schema[name]) for name, form in _LIMITS.items() if schema.get(name) is not None]
    return "; ".join(part for part in (schema.get("description", ""), ", ".join(limits)) if part)


def _code_spans(text: str) -> Markup:
    """Show what stands between backticks as code, everything else as text; blank lines part paragraphs."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        parts = [escape(part) for part in paragraph.split("`")]
        spans = [part if place % 2 == 0 else Markup("<code>{}</code>").format(part) for place, part in enumerate(parts)]
        paragraphs.append(Markup("").join(spans))
    return Markup("<br><br>").join(paragraphs)


@cache
def template(name: str) -> Any:
    """Return a template of this package: everything is escaped, an unknown name is an error."""
    environment = Environment(
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code_spans"] = _code_spans
    return environment.from_string(files(__package__).joinpath(name).read_text(encoding="utf-8"))
