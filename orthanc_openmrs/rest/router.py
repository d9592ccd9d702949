"""Which handler answers which request.

Decides: paths, methods, how large a request may be, and how an error becomes an answer. Must
not know: what a handler does.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from orthanc_openmrs.errors import (
    PROBLEMS,
    Conflict,
    NotFound,
    OpenMRSError,
    StoreError,
    WorklistUnavailable,
)
from orthanc_openmrs.rest.arguments import refuse_unknown
from orthanc_openmrs.rest.messages import JSON, HttpError, Request, Response, error
from orthanc_openmrs.rest.schemas import Parameter, Schema
from orthanc_openmrs.rest.sites import may_be_from_another_site

LARGEST_BODY = 64 * 1024
"""Bytes of a request's body."""

ANOTHER_SITE = "this request may come from another site's page"
ANOTHER_SITE_DETAILS = (
    "a browser's own page sends its Origin, a program none of a browser's headers"
)

RETRY = {"Retry-After": "10"}

Handler = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table. `{name}` in `path` stands for one segment, given by name, and
    `names` says what it is.

    `query`, `body`, `body_required`, `answer` (of `media`) and `errors` are what OpenAPI tells of
    it; the errors that follow from the method and the path are added there.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    names: Mapping[str, str] = field(default_factory=dict)
    query: tuple[Parameter, ...] = ()
    body: Schema | None = None
    body_required: bool = True
    answer: Schema | None = None
    media: str = JSON
    errors: tuple[int, ...] = ()
    pattern: re.Pattern[str] = field(init=False)
    arguments: tuple[str, ...] | None = field(init=False)
    """The names of `query`, None where any name is one."""

    def __post_init__(self) -> None:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        object.__setattr__(self, "pattern", re.compile(pattern))
        any_name = any(parameter.schema.get("type") == "object" for parameter in self.query)
        names = None if any_name else tuple(parameter.name for parameter in self.query)
        object.__setattr__(self, "arguments", names)


class Router:
    """Answers a request from a table of routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)

    def respond(self, request: Request) -> Response:
        """The answer, whatever the request."""
        path = request.path.rstrip("/") or "/"
        if may_be_from_another_site(request):
            return error(403, ANOTHER_SITE, request, ANOTHER_SITE_DETAILS)
        if len(request.body) > LARGEST_BODY:
            return error(413, f"the body is longer than {LARGEST_BODY} bytes", request)
        allowed: list[str] = []
        for route in self.routes:
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            if route.method != request.method:
                allowed.append(route.method)
                continue
            try:
                if route.arguments is not None:
                    refuse_unknown(request, route.arguments)
                return route.handler(request, **found.groupdict())
            except NotFound as problem:
                return error(404, str(problem), request)
            except Conflict as problem:
                return error(409, str(problem), request)
            except OpenMRSError as problem:
                message = PROBLEMS.get(problem.kind, problem.kind)
                return error(503, message, request, str(problem), RETRY)
            except (StoreError, WorklistUnavailable) as problem:
                return error(503, str(problem), request, headers=RETRY)
            except HttpError as problem:
                return error(
                    problem.status, problem.message, request, problem.details, problem.headers
                )
        if allowed:
            return Response(405, allow=",".join(allowed))
        return error(404, "there is no such route; see docs/rest.md", request)
