"""The pictures in docs/images: the page over a clinic's day, in Debian's Chromium."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from standin import Standin
from trial import clinic
from trial.browser import chromium
from trial.orthanc import ScratchOrthanc

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
LARGEST = 150_000
"""Bytes of a picture: they are kept in the repository."""

WIDE = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"}
NARROW = {"viewport": {"width": 360, "height": 740}, "locale": "fr-FR"}


def _now(page: Page) -> None:
    expect(page.get_by_text("1 study waits for your decision.")).to_be_visible()


def _worklist(page: Page) -> None:
    expect(page.locator("tr[data-key]").first).to_be_visible()


def _step(page: Page) -> None:
    _worklist(page)
    page.locator("tr[data-key] button.open").nth(1).click()
    expect(page.get_by_text("gets this step.")).to_be_visible()
    page.get_by_text("Does a station get it?").scroll_into_view_if_needed()


def _held(page: Page) -> None:
    page.locator("ul.told button").first.click()
    expect(page.get_by_role("dialog").locator("tr.differs").first).to_be_visible()


def _candidates(page: Page) -> None:
    expect(page.locator(".score").first).to_be_visible()


def _etat(page: Page) -> None:
    expect(page.get_by_text("OpenMRS répond")).to_be_visible()


PICTURES: tuple[tuple[str, str, Callable[[Page], None], dict[str, Any]], ...] = (
    # name, part of the page, what a person does there, the browser
    ("now", "now", _now, WIDE),
    ("worklist", "worklist", _worklist, WIDE),
    ("step", "worklist", _step, WIDE),
    ("held", "notifications?state=held", _held, WIDE),
    ("candidates", "studies?patient={patient}", _candidates, {**WIDE, "color_scheme": "dark"}),
    ("narrow", "now", _etat, NARROW),
)


def main() -> int:
    """Writes the pictures; returns the exit status."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="orthanc-openmrs-screenshots-") as scratch,
        Standin("v3") as openmrs,
    ):
        folder = Path(scratch)
        clinic.orders(openmrs)
        configuration = {
            "ImagingWorklistURL": openmrs.worklist_url,
            "ImagingUpdateRequestStatus": openmrs.update_url,
            "ImagingWorklistUsername": "imaging",
            "ImagingWorklistPassword": "Imaging123",
            "OpenMRS": {"RefreshInterval": 1},
        }
        with ScratchOrthanc(folder / "orthanc", configuration) as orthanc, chromium() as browser:
            today = clinic.day(openmrs, orthanc, folder)
            for name, part, do, options in PICTURES:
                context = browser.new_context(reduced_motion="reduce", **options)
                page = context.new_page()
                place = part.format(patient=today.stray_of)
                page.goto(f"{orthanc.url}/openmrs/ui/#{place}")
                do(page)
                page.mouse.move(0, 0)
                path = IMAGES / f"{name}.png"
                page.screenshot(path=path)
                context.close()
                size = path.stat().st_size
                print(f"{path.relative_to(IMAGES.parent.parent)}: {size // 1024} KiB")
                if size > LARGEST:
                    print(f"{name} is larger than {LARGEST} bytes", file=sys.stderr)
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
