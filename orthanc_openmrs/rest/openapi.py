"""OpenAPI 3.1, from the table that answers the requests.

Decides: how a row of the table is told, and which errors every row of its kind may give. Must
not know: the handlers, what is in the table.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from orthanc_openmrs import __version__
from orthanc_openmrs.errors import PROBLEMS
from orthanc_openmrs.rest.messages import (
    CODES,
    JSON,
    OTHER_CODES,
    REASONS,
    Request,
    Response,
    answer,
)
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import ANYTHING, NAME, TEXT, Named, Parameter, Schema, record

ABOUT = (
    "Under Orthanc's own authentication. HEAD is answered as GET where Orthanc passes it on. Keys, "
    "codes and routes stay within a major version; new ones may come, so ignore what you don't "
    "know. Another method on a path is 405 with Allow and no body. A path that is no UTF-8 "
    "is refused by Orthanc itself."
)

ERROR = Named(
    "Error",
    record(
        HttpError=TEXT,
        Code={
            "type": "string",
            "enum": sorted(
                {*CODES.values(), *OTHER_CODES, *(f"openmrs-{one}" for one in PROBLEMS)}
            ),
            "description": "for programs: what it means never changes; more may come",
        },
        HttpStatus={"type": "integer", "minimum": 400, "maximum": 599},
        Message=NAME,
        Details=TEXT,
        Method=TEXT,
        Uri=TEXT,
    ),
)


def with_document(routes: Iterable[Route]) -> list[Route]:
    """The table with one row more: its own description."""
    table = list(routes)

    def openapi(request: Request) -> Response:
        """GET /openmrs/openapi.json"""
        return answer(document(table))

    table.append(
        Route(
            "GET",
            "/openmrs/openapi.json",
            openapi,
            "getOpenApi",
            "This document (OpenAPI 3.1)",
            answer=ANYTHING,
        )
    )
    return table


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole document."""
    components: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in filter(lambda route: route.operation, routes):
        operation = _referred(_operation(route), components)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
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
            "schemas": dict(sorted(components.items())),
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


def _referred(found: Any, components: dict[str, Any]) -> Any:
    """The same, with a reference for each schema that has a name, which is put into
    `components`."""
    if isinstance(found, Mapping):
        told = {key: _referred(value, components) for key, value in found.items()}
        if not isinstance(found, Named):
            return told
        if components.setdefault(found.name, told) != told:
            raise ValueError(f"two schemas have the name {found.name}")
        return {"$ref": f"#/components/schemas/{found.name}"}
    if isinstance(found, list):
        return [_referred(value, components) for value in found]
    return found


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": route.names[name],
                "schema": NAME,
            }
            for name in names_in(route.path)
        ]
        + [_argument(parameter) for parameter in route.query],
        "responses": {
            "200": {
                "description": "done",
                **({"headers": _headers(route)} if _headers(route) else {}),
                "content": _content(route.answer or {}, route.media),
            },
            **(
                {
                    "201": {
                        "description": "created",
                        "content": _content(route.answer or {}, route.media),
                    }
                }
                if route.creates
                else {}
            ),
            **({"304": {"description": "as If-None-Match has it"}} if route.validated else {}),
            "401": {"description": "Orthanc's own: no user, or another password"},
            **{
                str(status): {
                    "description": REASONS[status],
                    **({"headers": _RETRY_AFTER} if status == 503 else {}),
                    "content": _content(ERROR, JSON),
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


def _headers(route: Route) -> dict[str, Any]:
    names = {parameter.name for parameter in route.query}
    return {
        **({"ETag": _header("for If-None-Match")} if route.validated else {}),
        **({"X-Total-Count": _header("elements of the whole list")} if "after" in names else {}),
        **(
            {"Link": _header('the next page: <?…&after=…>; rel="next"')} if "after" in names else {}
        ),
    }


def _header(words: str) -> dict[str, Any]:
    return {"schema": TEXT, "description": words}


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
