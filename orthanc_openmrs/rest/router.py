"""Which handler answers which request.

Decides: paths, methods, and how an error becomes an answer. Must not know: what a handler
does.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from orthanc_openmrs.rest.messages import HttpError, Request, Response, error

Handler = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table. `{name}` in `path` stands for one segment, given by name."""

    method: str
    path: str
    handler: Handler
    summary: str
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        object.__setattr__(self, "pattern", re.compile(pattern))


class Router:
    """Answers a request from a table of routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)

    def respond(self, request: Request) -> Response:
        """The answer, whatever the request."""
        path = request.path.rstrip("/") or "/"
        allowed: list[str] = []
        for route in self.routes:
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            if route.method != request.method:
                allowed.append(route.method)
                continue
            try:
                return route.handler(request, **found.groupdict())
            except HttpError as problem:
                return error(
                    problem.status, problem.message, request, problem.details, problem.headers
                )
        if allowed:
            return Response(405, allow=",".join(allowed))
        return error(404, "there is no such route; see docs/rest.md", request)
