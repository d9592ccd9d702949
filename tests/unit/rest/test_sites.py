"""Which requests may come from another site's page."""

import pytest

from orthanc_openmrs.rest.messages import Request
from orthanc_openmrs.rest.sites import may_be_from_another_site
from tests.unit.rest.application import Application

HERE = {"host": "orthanc:8042"}
CHROMIUM = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0"}
FIREFOX = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
POWERSHELL = {
    "user-agent": "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1"
}
NODE = {"user-agent": "node", "accept-language": "*", "sec-fetch-mode": "cors"}
JAVA = {"user-agent": "Java/17", "accept": "text/html, image/gif, image/jpeg, *; q=.2"}

TABLE = [
    # programs
    ({}, False),
    ({"user-agent": "curl/8.5.0", "accept": "*/*"}, False),
    ({"user-agent": "python-requests/2.32.3"}, False),
    (POWERSHELL, False),
    (NODE, False),
    (JAVA, False),
    # the page's own scripts, over http and over https
    (CHROMIUM | {"origin": "http://orthanc:8042"}, False),
    (CHROMIUM | {"origin": "https://pacs", "x-forwarded-host": "pacs"}, False),
    (CHROMIUM | {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, False),
    ({"sec-fetch-site": "same-origin", "origin": "http://a-host-that-a-proxy-changed"}, False),
    # another site's scripts and forms
    ({"sec-fetch-site": "cross-site"}, True),
    ({"sec-fetch-site": "same-site"}, True),
    (CHROMIUM | {"origin": "http://evil"}, True),
    ({"origin": "http://evil"}, True),
    ({"origin": "null"}, True),
    ({"origin": "http://["}, True),
    # links, pictures and forms of which Orthanc makes a DELETE or a PUT by ?_method=
    (CHROMIUM, True),
    (FIREFOX, True),
    ({"user-agent": "Opera/9.80 (X11; Linux x86_64) Presto/2.12.388 Version/12.16"}, True),
    ({"referer": "http://evil/page"}, True),
    # … over https or on localhost: of another site, of a mail, of our own host
    (CHROMIUM | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),
    (CHROMIUM | {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, True),
    (CHROMIUM | {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}, True),
    (CHROMIUM | {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors"}, True),
]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(("headers", "refused"), TABLE)
def test_a_change_that_may_come_from_another_sites_page_is_refused(
    method: str, headers: dict[str, str], refused: bool
) -> None:
    request = Request(method, "/openmrs/notifications/1", headers=HERE | headers)
    assert may_be_from_another_site(request) is refused


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [headers for headers, _ in TABLE])
def test_what_changes_nothing_is_answered_to_everybody(
    method: str, headers: dict[str, str]
) -> None:
    assert not may_be_from_another_site(Request(method, "/openmrs/status", headers=HERE | headers))


def test_the_refusal_is_a_403_that_says_why() -> None:
    app = Application()
    assert app.send("POST", "/worklist/refresh", b"", user_agent="curl/8.5.0").status == 200
    refused = app.send("POST", "/worklist/refresh", b"", **{"user_agent": CHROMIUM["user-agent"]})
    assert refused.status == 403
    assert b"another site" in refused.body
