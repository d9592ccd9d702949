"""What the browser tests stand on: one browser, and pages whose errors fail the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from standin import Standin
from tests.server.conftest import module_keys
from trial import clinic
from trial.browser import chromium
from trial.clinic import Clinic
from trial.orthanc import ScratchOrthanc

HERE = Path(__file__).parent

expect.set_options(timeout=15_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests run in one process, for they share its clinic, which takes long to fill."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


WIDE = {"width": 1280, "height": 860}


@pytest.fixture(scope="module")  # Playwright's event loop runs in this thread meanwhile
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module."""
    with chromium() as started:
        yield started


class Visit:
    """A person at the page."""

    def __init__(self, context: BrowserContext, errors: list[str]) -> None:
        self.page: Page = context.new_page()
        self._errors = errors
        self._expected: tuple[str, ...] = ()
        self.page.set_default_timeout(15_000)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self._errors.append(f"page error: {error}"))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(one in message.text for one in self._expected):
            self._errors.append(f"{message.text} ({message.location.get('url', '')})")

    def expects(self, *texts: str) -> None:
        """Errors that belong to the story: what the browser says of an answer that fails."""
        self._expected = texts

    def no_serious_violation(self) -> None:
        """As axe-core finds them."""
        found = Axe().run(self.page).response["violations"]
        bad = [
            (one["id"], one["impact"], [node["html"] for node in one["nodes"]][:3])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert bad == []

    def no_sideways_scrolling(self) -> None:
        """The page is no wider than the window."""
        width = self.page.evaluate("document.documentElement.scrollWidth")
        assert width <= self.page.evaluate("innerWidth")


Open = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens a page of an Orthanc; an error in its console fails the test."""
    errors: list[str] = []
    contexts: list[BrowserContext] = []

    def start(url: str, **options: Any) -> Visit:
        settings = {"viewport": WIDE, "locale": "en-GB", "reduced_motion": "reduce", **options}
        contexts.append(browser.new_context(**settings))
        visit = Visit(contexts[-1], errors)
        visit.page.goto(url)
        return visit

    yield start
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="module")
def openmrs() -> Iterator[Standin]:
    """An OpenMRS for all tests of a module."""
    with Standin("v2") as server:
        yield server


@pytest.fixture(scope="module")
def orthanc(openmrs: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchOrthanc]:
    """An Orthanc for all tests of a module, with the day's orders."""
    clinic.orders(openmrs)
    folder = tmp_path_factory.mktemp("clinic")
    stations = {
        "CT2": {"AETitles": ["CT1"]},
        "CT8": {"AETitles": ["CT1", "CT2", "MR1"], "DaysBack": 0, "DaysAhead": 1},
    }
    section = {"RefreshInterval": 1, "Stations": stations}
    configuration = {**module_keys(openmrs), "OpenMRS": section}
    with ScratchOrthanc(folder / "orthanc", configuration) as started:
        yield started


@pytest.fixture(scope="module")
def today(openmrs: Standin, orthanc: ScratchOrthanc, tmp_path_factory: Any) -> Clinic:
    """What happened in the clinic."""
    folder: Path = tmp_path_factory.mktemp("images")
    return clinic.day(openmrs, orthanc, folder)
