"""Another site's page, in a real browser that remembers Orthanc's password, over plain http."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page

from standin import Standin
from tests.browser.conftest import Open
from tests.server.conftest import module_keys
from tests.server.test_mapping import image, upload
from trial.browser import chromium
from trial.orthanc import ScratchOrthanc

PACS, EVIL = "pacs.example", "evil.example"
USER = {"username": "ana", "password": "secret"}
PATIENT = "0d7d5f7f-0000-4c5b-8a3e-2f6f2d1b7a01"
STUDY = "1.2.826.0.1.3680043.8.498.23"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for which both sites have names: only localhost and https have Sec-Fetch-Site."""
    with chromium(f"--host-resolver-rules=MAP {PACS} 127.0.0.1, MAP {EVIL} 127.0.0.1") as started:
        yield started


@pytest.fixture(scope="module")
def orthanc(openmrs: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchOrthanc]:
    """An Orthanc with a user and a study."""
    folder = tmp_path_factory.mktemp("sites")
    configuration = {
        **module_keys(openmrs),
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER["username"]: USER["password"]},
    }
    started = ScratchOrthanc(folder / "orthanc", configuration)
    started.session.auth = (USER["username"], USER["password"])
    with started:
        upload(started, image(folder, "S-1", study=STUDY))
        yield started


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another site: an empty page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>a prize</title>")

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{EVIL}:{server.server_port}/"
    server.shutdown()
    server.server_close()


def answers_to(page: Page, what: str) -> int:
    """The status of Orthanc's answer to what a page does."""
    with page.expect_response(lambda answer: PACS in answer.url) as caught:
        page.evaluate(what)
    return caught.value.status


LED = {
    "a link": "const a = document.createElement('a'); a.href = URL;"
    "document.body.append(a); a.click()",
    "a form": "document.body.innerHTML = `<form action='${URL.split('?')[0]}'>"
    "<input name='_method' value='${URL.split('_method=')[1]}'></form>`;"
    "document.forms[0].submit()",
    "a page that hides itself": "document.head.innerHTML = '<meta name=referrer "
    "content=no-referrer>'; location = URL",
}
"""Ways to lead the person there: the browser sends the password along, the plugin refuses."""

WITHIN = {
    "a picture": "new Image().src = URL",
    "a script": "fetch(URL, {mode: 'no-cors', credentials: 'include'}).catch(() => {})",
}
"""Ways that the person doesn't see: today's Chromium keeps the password to itself, others don't."""


@pytest.mark.parametrize("way", [*LED, *WITHIN])
def test_another_sites_page_decides_nothing_with_a_remembered_password(
    way: str, orthanc: ScratchOrthanc, elsewhere: str, visit: Open
) -> None:
    pacs = f"http://{PACS}:{orthanc.http_port}"
    route = f"/openmrs/patients/{PATIENT}/studies/{STUDY}"
    orthanc.session.put(orthanc.url + route, timeout=30).raise_for_status()
    person = visit(f"{pacs}/openmrs/ui/", http_credentials=USER)
    person.page.get_by_role("heading", name="Now").wait_for()
    for faked in ("DELETE", "PUT"):
        trap = person.page.context.new_page()
        trap.goto(elsewhere)
        act = (LED | WITHIN)[way].replace("URL", f"`{pacs}{route}?_method={faked}`")
        status = answers_to(trap, f"() => {{ {act} }}")
        assert status == 403 or (status == 401 and way in WITHIN), faked
    assert orthanc.get(f"/openmrs/studies/{STUDY}")["Patient"] == PATIENT

    # The person's own page decides, over plain http too.
    assert answers_to(person.page, f"fetch('{route}', {{method: 'DELETE'}})") == 200
    assert orthanc.get(f"/openmrs/studies/{STUDY}")["Patient"] is None
