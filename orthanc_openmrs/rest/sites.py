"""Whether a request that changes something may come from another site's page.

A browser sends a person's password along with whatever any page asks of Orthanc, and Orthanc makes
a DELETE or a PUT of `GET …?_method=DELETE`, of which a plugin sees the method only. What is told
from it: a browser sends `Origin` with each true POST, PUT and DELETE, and none with a link, a
picture or a form's GET. So who looks like a browser must have it. Knows no route.
"""

from urllib.parse import urlsplit

from orthanc_openmrs.rest.messages import Request

SAFE = frozenset(["GET", "HEAD"])
"""Methods that change nothing: another site's page can't read what it is answered."""

BROWSERS = ("mozilla/", "opera/")
"""How the User-Agent of every browser begins."""

PROGRAMS = ("powershell",)
"""What calls itself Mozilla and is no browser: no page can make it ask."""

SCRIPTED = ("", "cors", "same-origin")
"""Sec-Fetch-Mode of what a script of the page asks; a link has "navigate", a picture "no-cors"."""


def may_be_from_another_site(request: Request) -> bool:
    """Whether it must be refused."""
    if request.method in SAFE:
        return False
    headers = request.headers
    site = headers.get("sec-fetch-site", "")
    if site:  # over https and on localhost only
        return site != "same-origin" or headers.get("sec-fetch-mode", "") not in SCRIPTED
    origin = headers.get("origin", "")
    if origin:
        return _host_of(origin) != (headers.get("x-forwarded-host") or headers.get("host", ""))
    return "referer" in headers or _is_browser(headers.get("user-agent", "").lower())


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _is_browser(agent: str) -> bool:
    return agent.startswith(BROWSERS) and not any(one in agent for one in PROGRAMS)
