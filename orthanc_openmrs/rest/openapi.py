"""OpenAPI 3.1, from the table that answers the requests.

Decides: how a row of the table is told, and which errors every row of its kind may give. Must
not know: the handlers, what is in the table.
"""

import re
from collections.abc import Iterable
from typing import Any

from orthanc_openmrs import __version__
from orthanc_openmrs.rest.messages import JSON, REASONS
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import PATH_PARAMETERS, SCHEMAS, Parameter, Schema, ref

ABOUT = (
    "Under Orthanc's own authentication: without credentials every route is 401 where Orthanc "
    "has users. Another method on a path is 405 with Allow and no body. A path that is no UTF-8 "
    "is refused by Orthanc itself."
)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "orthanc-openmrs",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        "servers": [{"url": "..", "description": "this Orthanc"}],
        "security": [{"basic": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
            "schemas": SCHEMAS,
        },
    }


def statuses(route: Route) -> list[int]:
    """The errors that a route may answer with."""
    found = {400, *route.errors}
    if "{" in route.path:
        found.add(404)
    if route.method != "GET":
        found |= {403, 413}
    return sorted(found)


def names_in(path: str) -> list[str]:
    """The names of the segments that stand for something."""
    return re.findall(r"{(\w+)}", path)


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": PATH_PARAMETERS[name],
                "schema": {"type": "string", "minLength": 1},
            }
            for name in names_in(route.path)
        ]
        + [_argument(parameter) for parameter in route.query],
        "responses": {
            "200": {"description": "done", "content": _content(route.answer or {}, route.media)},
            **{
                str(status): {
                    "description": REASONS[status],
                    **({"headers": _RETRY_AFTER} if status == 503 else {}),
                    "content": _content(ref("Error"), JSON),
                }
                for status in statuses(route)
            },
        },
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body_required,
            "content": _content(route.body, JSON),
        }
    return operation


_RETRY_AFTER = {"Retry-After": {"schema": {"type": "string"}, "description": "seconds"}}


def _argument(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.summary,
        "schema": parameter.schema,
    }


def _content(schema: Schema, media: str) -> dict[str, Any]:
    return {media: {"schema": schema}}
