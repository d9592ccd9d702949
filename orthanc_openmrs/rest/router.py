"""Which handler answers which request.

Decides: paths, methods, how large a request may be, and how an error becomes an answer. Must
not know: what a handler does.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from orthanc_openmrs.errors import (
    PROBLEMS,
    Conflict,
    NotFound,
    OpenMRSError,
    StoreError,
    Unstorable,
    WorklistUnavailable,
)
from orthanc_openmrs.rest.arguments import refuse_unknown
from orthanc_openmrs.rest.messages import JSON, HttpError, Request, Response, error, user_of
from orthanc_openmrs.rest.schemas import Parameter, Schema
from orthanc_openmrs.rest.sites import may_be_from_another_site

LARGEST_BODY = 64 * 1024
"""Bytes of a request's body."""

ANOTHER_SITE = "this request may come from another site's page"
ANOTHER_SITE_DETAILS = (
    "a browser's own page sends its Origin, a program none of a browser's headers"
)

RETRY = {"Retry-After": "10"}

NOT_KEPT = {"Cache-Control": "no-store"}
"""Of every answer that doesn't say otherwise: it may have patients' data."""

Handler = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table. `{name}` in `path` stands for one segment, given by name, and
    `names` says what it is. `operation` is the name of a client's method, "" where OpenAPI doesn't
    tell of the route at all.

    `query`, `body`, `body_required`, `answer` (of `media`), `errors` and `validated` (it has an
    ETag) are what OpenAPI tells of it; the errors that follow from the method and the path are
    added there. `creates`: it may answer 201, too. `largest_body` is in bytes. `decides`: it is a
    person's decision, for Orthanc's audit log.
    """

    method: str
    path: str
    handler: Handler
    operation: str
    summary: str
    names: Mapping[str, str] = field(default_factory=dict)
    query: tuple[Parameter, ...] = ()
    body: Schema | None = None
    body_required: bool = True
    answer: Schema | None = None
    media: str = JSON
    errors: tuple[int, ...] = ()
    validated: bool = False
    creates: bool = False
    largest_body: int = LARGEST_BODY
    decides: bool = False
    pattern: re.Pattern[str] = field(init=False)
    arguments: tuple[str, ...] | None = field(init=False)
    """The names of `query`, None where any name is one."""

    def __post_init__(self) -> None:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        object.__setattr__(self, "pattern", re.compile(pattern))
        any_name = any(parameter.schema.get("type") == "object" for parameter in self.query)
        names = None if any_name else tuple(parameter.name for parameter in self.query)
        object.__setattr__(self, "arguments", names)


@dataclass(frozen=True, slots=True)
class Decision:
    """Somebody decided something by this API; `names` are those of the route's path."""

    user: str
    operation: str
    names: Mapping[str, str]


class Router:
    """Answers a request from a table of routes; `on_decision` hears of what was decided."""

    def __init__(
        self,
        routes: Iterable[Route],
        on_decision: Callable[[Decision], None] = lambda decision: None,
    ) -> None:
        self.routes = tuple(routes)
        self._on_decision = on_decision

    def respond(self, request: Request) -> Response:
        """The answer, whatever the request."""
        path = request.path.rstrip("/") or "/"
        if may_be_from_another_site(request):
            return error(403, ANOTHER_SITE, request, ANOTHER_SITE_DETAILS)
        head = request.method == "HEAD"
        method = "GET" if head else request.method
        allowed: list[str] = []
        for route in self.routes:
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            if route.method != method:
                allowed.append(route.method)
                continue
            if len(request.body) > route.largest_body:
                return error(413, f"the body is longer than {route.largest_body} bytes", request)
            response = _answered(route, request, found.groupdict())
            if route.decides and response.status < 400:
                names = found.groupdict()
                self._on_decision(Decision(user_of(request), route.operation, names))
            return replace(response, body=b"") if head else response
        if allowed:
            return Response(405, allow=",".join(allowed))
        message = "there is no such route; see docs/rest.md"
        return error(404, message, request, code="unknown-route")


def _answered(route: Route, request: Request, names: Mapping[str, str]) -> Response:
    """What the handler answers, or why it can't."""
    try:
        if route.arguments is not None:
            refuse_unknown(request, route.arguments)
        response = route.handler(request, **names)
    except NotFound as problem:
        response = error(404, str(problem), request)
    except Conflict as problem:
        response = error(409, str(problem), request)
    except OpenMRSError as problem:
        message, code = PROBLEMS.get(problem.kind, problem.kind), f"openmrs-{problem.kind}"
        response = error(503, message, request, str(problem), RETRY, code)
    except Unstorable as problem:
        response = error(400, str(problem), request)
    except StoreError as problem:
        response = error(503, str(problem), request, headers=RETRY, code="database")
    except WorklistUnavailable as problem:
        response = error(503, str(problem), request, headers=RETRY, code="no-worklist")
    except HttpError as problem:
        response = error(
            problem.status,
            problem.message,
            request,
            problem.details,
            problem.headers,
            problem.code,
        )
    headers = {**NOT_KEPT, **response.headers}
    if response.status == 200 and _is_known(request, headers.get("ETag", "")):
        return Response(304, headers=headers)
    return replace(response, headers=headers)


def _is_known(request: Request, etag: str) -> bool:
    """Whether who asks has this already (RFC 9110 13.1.2, weak comparison)."""
    told = request.headers.get("if-none-match", "")
    plain = {one.strip().removeprefix("W/") for one in told.split(",")}
    return bool(etag) and (etag.removeprefix("W/") in plain or plain == {"*"})
