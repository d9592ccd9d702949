"""The routes of the administrator's page.

Decides: which file has which type, and what a browser may do with it. Must not know: where the
files are, what is in them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from orthanc_openmrs.rest.messages import HttpError, Request, Response
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import TEXT

START = "index.html"

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}

HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
)
"""Of every file: nothing from elsewhere, nothing inline, and the file of today's version."""


class PageRoutes:
    """The handlers, over the files of the page."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def table(self) -> list[Route]:
        """Every route. Orthanc takes the last slash away, so that `/openmrs/ui` and
        `/openmrs/ui/`, from where a relative link leads elsewhere, are one: the page asks for
        `ui/…`, and is given it below both."""
        return [
            Route(
                "GET",
                "/openmrs/ui",
                self.page,
                "",
                "The administrator's page",
                answer=TEXT,
                media="text/html",
            ),
            *(
                Route(
                    "GET",
                    path,
                    handler,
                    "",
                    "A file of the page",
                    {"file": "the name of a file of the page"},
                    answer=TEXT,
                    media="*/*",
                )
                for path, handler in (
                    ("/openmrs/ui/{file}", self.page_file),
                    ("/openmrs/ui/ui/{file}", self.page_file_below),
                )
            ),
        ]

    def page(self, request: Request) -> Response:
        """GET /openmrs/ui"""
        return self.page_file(request, START)

    def page_file(self, request: Request, file: str) -> Response:
        """GET /openmrs/ui/{file}"""
        body = self._files.get(file)
        if body is None:
            raise HttpError(404, "the page has no such file")
        return Response(200, body, TYPES[file.rpartition(".")[2]], HEADERS)

    def page_file_below(self, request: Request, file: str) -> Response:
        """GET /openmrs/ui/ui/{file}"""
        return self.page_file(request, file)
