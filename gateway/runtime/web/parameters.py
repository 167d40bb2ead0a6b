"""Parameters of every role's routes: ids in paths, and query parameters, of which none is unknown.

An id that could not be one is as unknown as one that nobody has: 404, before any database sees it. A query parameter
that a route does not have is 422, so that a misspelt filter does not silently answer everything.
"""

import re
from collections import Counter
from typing import Annotated

from fastapi import Path, Request, params
from fastapi.dependencies.utils import get_flat_params, request_params_to_args
from fastapi.routing import APIRoute

from gateway.protocol.errors import Fault, InvalidInputError
from gateway.protocol.facts import bounds_of

PATH_ID_CHARACTERS_MAX = 128

PathId = Annotated[str, Path(pattern=rf"^[!-~]{{1,{PATH_ID_CHARACTERS_MAX}}}$")]
"""An id in a path: visible ASCII, since every database and log must be able to hold it."""

STATIC_TAGS = frozenset(("log", "witness"))
"""Files that anybody may fetch with a query of their own, e.g. against a cache."""

_WORD = re.compile(r"[a-z][a-z_]{0,29}")


async def refuse_unknown_query_when_open(request: Request) -> None:
    """Check the query of a route without login; the others are checked once the caller is known (`auth.require`)."""
    route = request.scope.get("route")
    if isinstance(route, APIRoute) and not _asks_for_login(route):
        refuse_unknown_query(request)


def refuse_unknown_query(request: Request) -> None:
    """Refuse parameters that the route does not have or that come twice; tells of every wrong parameter at once.

    An unknown name is text that somebody sent: it is named only if it looks like a misspelt name, else `/query` is.
    """
    route = request.scope.get("route")
    if not request.url.query or not isinstance(route, APIRoute) or STATIC_TAGS.intersection(route.tags):
        return
    fields = [found for found in get_flat_params(route.dependant) if isinstance(found.field_info, params.Query)]
    known = sorted(found.alias for found in fields)
    faults = [
        Fault("query.unknown", f"/query/{name}" if _WORD.fullmatch(name) else "/query", {"allowed": known})
        for name in dict.fromkeys(request.query_params)
        if name not in known
    ]
    times = Counter(name for name, _ in request.query_params.multi_items())
    faults += [Fault("query.repeated", f"/query/{name}") for name in known if times[name] > 1]
    if faults:
        _, errors = request_params_to_args(fields, request.query_params)
        faults += [
            Fault(f"field.{error['type'].replace('_', '-')}", f"/query/{error['loc'][1]}", bounds_of(error))
            for error in errors
        ]
        raise InvalidInputError("request.invalid", faults=faults)


def _asks_for_login(route: APIRoute) -> bool:
    return any(inner.own_oauth_scopes for inner in route.dependant.dependencies)
