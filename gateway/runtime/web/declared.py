"""What routes that read their body and headers themselves declare of them in OpenAPI: `openapi_extra` of an operation.

Bodies are read raw, counted and by the guarded reader, so that FastAPI knows nothing of them; what stands here is what
the reader demands, from the same model where there is one.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

JSON = "application/json"

NOTHING: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "description": "`{}`: the address and the headers say it all",
}
"""The body of a move that takes no words."""

_IDEMPOTENCY_KEY: Mapping[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "Bare or quoted; the same key and body get the first answer again",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
}
_IF_MATCH: Mapping[str, Any] = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of the claim as it was read: its revision, in quotes",
    "schema": {"type": "string", "pattern": '^"[0-9]{1,18}"$'},
}


def declared(
    body: type[BaseModel] | Mapping[str, Any] | None = None,
    example: Mapping[str, Any] | None = None,
    *,
    media_type: str = JSON,
    idempotent: bool = False,
    if_match: bool = False,
) -> dict[str, Any]:
    """Declare a body by model or JSON Schema, with an example, and the headers that an operation cannot do without."""
    headers = [dict(header) for wanted, header in ((idempotent, _IDEMPOTENCY_KEY), (if_match, _IF_MATCH)) if wanted]
    found: dict[str, Any] = {"parameters": headers} if headers else {}
    if body is not None:
        content: dict[str, Any] = {"schema": _schema(body)}
        if example is not None:
            content["example"] = example
        found["requestBody"] = {"required": True, "content": {media_type: content}}
    return found


def answers(media_type: str, *, status: int = 200, text: bool = False) -> dict[int | str, dict[str, Any]]:
    """Declare what an operation answers where that is no JSON object; for the decorator's `responses`."""
    schema = {"type": "string"} if text else {}
    return {status: {"description": "Successful Response", "content": {media_type: {"schema": schema}}}}


def _schema(body: type[BaseModel] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(body, Mapping):
        return dict(body)
    return body.model_json_schema(ref_template="#/components/schemas/{model}")


def strings(**descriptions: str) -> dict[str, Any]:
    """Write the schema of an object of texts that must all be there and nothing else."""
    properties = {name: {"type": "string", "description": text} for name, text in descriptions.items()}
    return {"type": "object", "required": list(descriptions), "additionalProperties": False, "properties": properties}
