"""The administrator's page in a real browser, on a real Orthanc: each test is a person's story."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

import pydicom
import pytest
import requests
from playwright.sync_api import Dialog, Page, expect

from orthanc_openmrs import ui
from standin import Standin, StepFields
from standin.faults import Fault
from standin.samples import many
from tests.browser.conftest import Open
from tests.server.conftest import module_keys
from trial import clinic, scanner
from trial.clinic import WORKLIST, Clinic
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

TODAY = date.today().strftime("%Y%m%d")
PARTS = ("now", "worklist", "notifications", "studies")


def page_of(orthanc: ScratchOrthanc, part: str = "now") -> str:
    """The address of a part of the page."""
    return f"{orthanc.url}/openmrs/ui/#{part}"


def rows(page: Page) -> list[str]:
    """The names in the rows of the worklist that are in the document."""
    return page.locator("tr[data-key] button.open").all_inner_texts()


# --- now -----------------------------------------------------------------------------------


def test_now_says_how_all_is_and_what_to_do(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc)).page
    expect(page.get_by_text("OpenMRS answers")).to_be_visible()
    expect(page.get_by_text("generation v2")).to_be_visible()
    expect(page.get_by_text("1 study waits for your decision.")).to_be_visible()
    expect(page.get_by_text("OpenMRS refused 1 notification.")).to_be_visible()
    expect(page.get_by_text("1 step can't be offered to the scanners.")).to_be_visible()
    openmrs.set_fault(Fault("unauthorized"), WORKLIST)
    todo = page.get_by_label("What to look at")
    expect(todo).to_contain_text("OpenMRS refuses the password.")
    expect(todo).to_contain_text("Check ImagingWorklistUsername and ImagingWorklistPassword")
    expect(page.get_by_text("OpenMRS gives no list")).to_be_visible()
    openmrs.clear_faults()
    page.get_by_role("button", name="Read the list now").click()
    expect(page.get_by_role("status")).to_contain_text(re.compile(r"The list was read: 13 steps"))
    expect(todo).not_to_contain_text("refuses the password")
    expect(page.get_by_text("OpenMRS answers")).to_be_visible()


def test_everything_is_checked_on_the_page_and_it_says_who_asked_lately(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    answered = len(scanner.find(orthanc.dicom_port, ae_title="XR77").answers)
    person = visit(page_of(orthanc))
    page = person.page
    lately = page.locator(".card").filter(has_text="Who asked lately")
    expect(lately).to_contain_text(re.compile(rf"XR77.*: {answered} steps?"))
    page.get_by_role("button", name="Check everything").click()
    drawer = page.get_by_role("dialog", name="What the doctor finds")
    expect(drawer.locator(".rules li").first).to_be_visible()
    assert drawer.locator(".rules li").count() > 3
    person.no_serious_violation()
    page.keyboard.press("Escape")
    lately.get_by_role("link", name="XR77").click()
    expect(page.get_by_label("As this station sees it")).to_have_value("XR77")


def test_each_problem_of_openmrs_has_its_own_words_and_advice(
    openmrs: Standin, orthanc: ScratchOrthanc, visit: Open
) -> None:
    person = visit(page_of(orthanc))
    person.expects("503")  # what reading the list now is answered
    page = person.page
    todo = page.get_by_label("What to look at")
    texts = json.loads((Path(ui.__file__).parent / "texts.en.json").read_text())

    def is_told(kind: str) -> None:
        page.get_by_role("button", name="Read the list now").press("Enter")
        expect(todo).to_contain_text(texts[f"problem.{kind}"])
        expect(todo).to_contain_text(texts[f"problem.{kind}.do"])

    for fault, kind in (
        (Fault("redirect_https", text=openmrs.worklist_url.replace("http:", "https:")), "https"),
        (Fault("redirect_oauth2"), "single-sign-on"),
        (Fault("tls_port"), "tls-port"),
        (Fault("status", status=503), "proxy"),
        (Fault("exception"), "server-error"),
    ):
        openmrs.set_fault(fault, WORKLIST)
        is_told(kind)
    openmrs.clear_faults()
    openmrs.generation = "1.1.4"
    is_told("module-too-old")
    openmrs.generation = "v0.9"
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, steps=[])
    is_told("no-steps")


def test_a_list_that_cant_be_read_now_is_said_in_words(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    person = visit(page_of(orthanc))
    person.expects("503")
    openmrs.set_fault(Fault("cut"), WORKLIST)
    person.page.get_by_role("button", name="Read the list now").click()
    said = person.page.locator(".message.bad")
    expect(said).to_contain_text("OpenMRS can't be reached: check ImagingWorklistURL")
    openmrs.clear_faults()


# --- worklist ------------------------------------------------------------------------------


def test_the_worklist_is_shown_as_a_station_sees_it_and_a_step_explains_itself(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, "worklist")).page
    count = page.locator("p.counted")
    expect(count).to_have_text("11 steps")
    page.get_by_label("As this station sees it").fill("CT1")
    page.keyboard.press("Enter")
    expect(count).to_have_text("1 step that CT1 gets when it asks for its own")
    page.get_by_label("It asks for its own AE title").uncheck()
    expect(count).to_have_text("11 steps that CT1 gets when it asks for all")
    page.get_by_role("searchbox", name="Search").fill("lefevre")  # without her accents
    expect(page.locator("tr[data-key]")).to_have_count(1)
    page.get_by_role("searchbox", name="Search").fill("")
    page.get_by_role("button", name="Patient").click()
    expect(page.get_by_role("columnheader", name="Patient")).to_have_attribute(
        "aria-sort", "ascending"
    )
    before = rows(page)
    page.get_by_role("button", name="Patient").click()
    assert rows(page) == before[::-1]
    page.get_by_label("Modality").select_option("MR")
    expect(page.locator("tr[data-key]")).to_have_count(2)

    page.locator("tr[data-key] button.open").first.click()
    step = page.get_by_role("dialog")
    expect(step).to_contain_text("CT1 gets this step.")  # for it asks for all, as said above
    step.get_by_label("It asks for its own AE title").check()
    step.get_by_label("Station (AE title)").fill("MR9")
    page.keyboard.press("Enter")
    expect(step).to_contain_text("MR9 doesn't get this step.")
    expect(step).to_contain_text(re.compile("but the step has [A-Z]+1"))
    step.get_by_label("It asks for its own AE title").uncheck()
    expect(step).to_contain_text("MR9 gets this step.")
    with page.expect_download() as waiting:
        step.get_by_role("link", name="Download the .wl file").click()
    name = waiting.value.path()
    assert pydicom.dcmread(BytesIO(Path(name).read_bytes())).PatientName
    page.keyboard.press("Escape")
    expect(step).to_be_hidden()


def test_a_step_that_isnt_offered_says_why_and_a_station_isnt_given_it(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, "worklist?show=skipped&aet=CT1")).page
    page.get_by_role("button", name="Odhiambo, Achieng").click()
    step = page.get_by_role("dialog")
    expect(step).to_contain_text("Scanners don't get this step: Modality is empty.")
    expect(step).to_contain_text("CT1 doesn't get this step.")


def test_the_list_is_searched_by_the_plugin_in_any_script_spelling_number_date_and_status(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, "worklist?show=all")).page
    search = page.get_by_role("searchbox", name="Search")
    names = page.locator("tr[data-key] button.open")
    for typed, name in (
        ("smirnov", "Смирнов"),
        ("smirnof alexey", "Смирнов"),
        ("nguyen", "Nguyễn"),
        ("lefevre", "Lefèvre"),
    ):
        search.fill(typed)
        expect(names).to_have_count(1)
        expect(names.first).to_contain_text(name)
    search.fill("completed")
    expect(page.locator("tr[data-key] .badge").first).to_have_text("completed")
    search.fill("today")
    expect(names).not_to_have_count(0)
    search.fill(TODAY[:4] + "-01-01")
    expect(page.get_by_text("No step is like this.")).to_be_visible()


def test_a_rule_that_failed_reads_as_a_failure_and_one_that_passed_as_none(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    openmrs.records.add_request(
        openmrs.records.add_patient("Olden", "Days"),
        steps=[StepFields("CT", "CT1", "20260103080000", "080000")],
    )
    page = visit(page_of(orthanc, "worklist?show=open&search=olden")).page
    page.get_by_role("button", name="Days, Olden").click()
    drawer = page.get_by_role("dialog")
    drawer.get_by_label("Station (AE title)").fill("CT8")
    drawer.get_by_label("It asks for its own AE title").uncheck()
    rules = drawer.locator(".rules li")
    failed = rules.filter(has_text="3 Jan 2026 is outside CT8's days")
    expect(failed).to_have_class("bad")
    expect(rules.filter(has_text="The step is open")).to_have_class("good")
    page.keyboard.press("Escape")
    page.goto(page_of(orthanc, f"worklist?show=all&search={today.delivered}"))
    page.locator("tr[data-key]").filter(has_text="completed").first.get_by_role("button").click()
    expect(drawer.locator(".rules li.bad").first).to_contain_text("The step isn't offered:")
    expect(drawer).not_to_contain_text("The step is open")


def test_today_comes_first_and_what_is_looked_at_is_in_the_address(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    openmrs.records.add_request(
        openmrs.records.add_patient("Overdue", "Patient"),
        steps=[StepFields("CT", "CT1", "20260105080000", "080000")],
    )
    page = visit(page_of(orthanc, "worklist?show=open")).page
    rows = page.locator("tr[data-key]")
    late = rows.filter(has_text="Patient, Overdue")
    expect(late).to_contain_text("overdue")
    expect(rows.first).to_contain_text("today")
    page.get_by_label("When", exact=True).select_option("overdue")
    expect(rows.filter(has_text="today")).to_have_count(0)
    expect(late).to_be_visible()
    page.reload()
    expect(page.get_by_label("When", exact=True)).to_have_value("overdue")
    # A drawer is a place too: Back closes it, a link opens it.
    late.get_by_role("button").click()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("No study was linked to it yet.")
    place = page.url
    page.go_back()
    expect(drawer).to_be_hidden()
    expect(late).to_be_visible()
    page.goto(place)
    expect(drawer).to_contain_text("Patient, Overdue")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    assert "step=" not in page.url
    # All rows are there when it is printed, without what is for the screen only.
    page.get_by_label("When", exact=True).select_option("any")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    steps = orthanc.get("/openmrs/worklist", params={"open": "true"})
    expect(rows).to_have_count(len(steps))
    expect(page.get_by_role("searchbox")).to_be_hidden()


def test_a_step_its_notification_and_its_study_lead_to_each_other(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, f"worklist?show=all&step={today.delivered}")).page
    drawer = page.get_by_role("dialog")
    drawer.get_by_role("link", name="OpenMRS: delivered").click()
    expect(drawer).to_contain_text("OpenMRS knows that the step is completed.")
    drawer.get_by_role("link", name="show it").click()
    steps = drawer.get_by_role("link", name=today.delivered, exact=True)
    steps.click()
    expect(drawer).to_contain_text("What became of it")
    page.go_back()
    expect(steps).to_be_visible()


def test_a_station_that_no_step_names_is_said_to_be_unknown(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, "worklist?aet=ct%201")).page
    expect(page.get_by_text("No step names the station ct 1. Is it CT1?")).to_be_visible()
    title = page.get_by_label("As this station sees it")
    title.fill("XX9")
    title.press("Enter")
    said = page.get_by_text("No step names the station XX9. Those that there are: ")
    expect(said).to_contain_text("CT1")


def test_thousands_of_steps_are_a_bounded_number_of_rows(tmp_path: Path, visit: Open) -> None:
    with Standin("v2") as openmrs:
        for sample in many(5000):
            sample.add_to(openmrs.records)
        with ScratchOrthanc(tmp_path, module_keys(openmrs)) as orthanc:
            eventually(
                lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == 5000,
                "the steps aren't offered",
                60,
            )
            page = visit(page_of(orthanc, "worklist")).page
            expect(page.locator("p.counted")).to_have_text("5,000 steps")
            table = page.locator("table.rows")
            assert table.get_attribute("aria-rowcount") == "5001"
            assert 0 < page.locator("tr").count() < 60
            page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            last = page.locator('tr[aria-rowindex="5001"]')
            expect(last).to_be_in_viewport()
            assert page.locator("tr").count() < 60
            page.evaluate("scrollTo(0, 0)")
            page.get_by_role("searchbox", name="Search").fill("family4999")
            expect(page.locator("tr[data-key]")).to_have_count(1)
            page.get_by_role("searchbox", name="Search").fill("")
            expect(page.locator("p.counted")).to_have_text("5,000 steps")
            # The keyboard goes on where the rows in sight end.
            page.locator("tr[data-key] button.open").first.focus()
            for _ in range(40):
                page.keyboard.press("ArrowDown")
            row = page.evaluate("document.activeElement.closest('tr').ariaRowIndex")
            assert int(row) == 42
            # Also where keys come faster than the screen is drawn.
            page.evaluate(
                """() => {
                  const key = { key: "ArrowDown", bubbles: true, cancelable: true };
                  for (let at = 0; at < 40; at += 1)
                    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", key));
                }"""
            )
            assert page.evaluate("document.activeElement.closest('tr').ariaRowIndex") == "82"
            # The row that has the focus stays, however far a person scrolls.
            page.evaluate("scrollTo(0, 100000)")
            expect(page.locator('tr[aria-rowindex="1670"]')).to_be_attached()
            assert page.evaluate("document.activeElement.closest('tr').ariaRowIndex") == "82"
            page.close()


# --- notifications -------------------------------------------------------------------------


def test_a_held_study_stands_beside_its_step_and_a_person_says_which_it_completes(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, "notifications")).page
    expect(page.locator("ul.told li")).to_have_count(1)  # the held one is shown first
    page.get_by_role("button", name="LEFEVRE DURR, HELENE").click()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("PatientID of the images is not that of request")
    expect(drawer.locator("tr.differs")).to_have_count(2)
    differing = drawer.locator("tr.differs th").all_inner_texts()
    assert [one.split("\n")[0] for one in differing] == ["PatientID", "Study instance UID"]
    expect(drawer.get_by_role("link", name="Open in Explorer")).to_have_attribute(
        "href", re.compile(r"/app/explorer\.html#study\?uuid=")
    )
    # Another step, found by what a person knows of it.
    drawer.get_by_label("Another step: search the open ones").fill("suharto")
    drawer.get_by_role("radio", name=re.compile("Suharto")).first.check()
    expect(drawer.get_by_role("button", name="It completes step 11")).to_be_enabled()
    drawer.get_by_label("Another step: search the open ones").fill("")
    drawer.get_by_role("radio", name=re.compile("Lefèvre-Dürr, Hélène")).check()
    drawer.get_by_role("button", name=f"It completes step {today.held}").click()
    question = page.get_by_role("alertdialog")
    expect(question).to_contain_text("You answer for that the patient is the same.")
    question.get_by_role("button", name="Cancel").click()
    assert openmrs.records.statuses()[int(today.held)] == "scheduled"
    drawer.get_by_role("button", name=f"It completes step {today.held}").click()
    question.get_by_role("button", name="Yes, tell OpenMRS").click()
    said = page.get_by_role("status").filter(has_text="OpenMRS is told that step 9")
    expect(said).to_be_visible()
    eventually(
        lambda: openmrs.records.statuses()[int(today.held)] == "completed",
        "OpenMRS isn't told",
    )
    expect(page.get_by_text("Nothing is held.")).to_be_visible()


def test_a_notification_is_found_by_its_studys_patient_and_by_a_number_of_its_order(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, "notifications?state=all")).page
    listed, count = page.locator("ul.told li"), page.locator("p.counted")
    expect(listed.first).to_be_visible()
    whole = listed.count()
    (told,) = orthanc.get("/openmrs/notifications", params={"step": today.delivered})
    name = listed.filter(has_text=f"Step {today.delivered} ").locator(".told-name").inner_text()
    search = page.get_by_role("searchbox", name="Search")
    accession = orthanc.get(f"/openmrs/worklist/{today.delivered}")["AccessionNumber"]
    for typed in (name, accession):
        search.fill(typed)
        expect(page).to_have_url(re.compile(re.escape(urlencode({"search": typed}))))
        expect(listed).to_have_count(1)
        expect(count).to_have_text("1 notification, the newest first")
        expect(listed.first).to_have_attribute("data-id", str(told["ID"]))
    page.reload()  # it is in the address
    expect(search).to_have_value(accession)
    expect(listed).to_have_count(1)
    search.fill("nobody at all")
    expect(page.get_by_text("No notification is like this.")).to_be_visible()
    search.fill("")
    expect(listed).to_have_count(whole)


def test_who_decides_second_hears_who_was_faster(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open, tmp_path: Path
) -> None:
    answer = next(
        one
        for one in scanner.find(orthanc.dicom_port).answers
        if one.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID == "8"
    )
    before = orthanc.get("/openmrs/status")["Notifications"]
    changes = {"PatientID": "H-2", "PatientName": "TOO^LATE", "StudyInstanceUID": "1.2.3.8"}
    clinic.send(orthanc, tmp_path, answer, changes)
    clinic.until(orthanc, Held=before["Held"] + 1)
    person = visit(page_of(orthanc, "notifications?state=held"))
    person.expects("409")
    page = person.page
    page.locator("ul.told button").filter(has_text=re.compile("too", re.IGNORECASE)).click()
    drawer = page.get_by_role("dialog")
    (held, *_) = orthanc.get("/openmrs/notifications", params={"state": "held", "newest": "true"})
    url = f"{orthanc.url}/openmrs/notifications/{held['ID']}"
    requests.delete(url, auth=("ben", "x"), timeout=10).raise_for_status()
    drawer.get_by_role("button", name="Discard").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Discard").click()
    said = page.locator(".message.bad")
    expect(said).to_contain_text("Another person was faster: ben, ")
    expect(said).to_contain_text("discarded. It is discarded now.")


def test_a_failed_notification_is_sent_again(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, "notifications?state=failed")).page
    page.locator("ul.told button").first.click()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("No series data found in payload")
    expect(drawer).to_contain_text(re.compile("Mend what the message says|OpenMRS has step"))
    drawer.get_by_role("button", name="Send again").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Send again").click()
    expect(page.get_by_text("It is sent again.")).to_be_visible()
    eventually(
        lambda: openmrs.records.statuses()[int(today.failed)] == "completed", "it isn't sent"
    )
    expect(page.get_by_text("Nothing failed.")).to_be_visible()
    page.get_by_role("link", name=re.compile("Delivered")).click()
    expect(page.locator("ul.told li").first).to_be_visible()


def test_with_the_keyboard_alone_a_held_study_is_discarded(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open, tmp_path: Path
) -> None:
    answer = next(
        one
        for one in scanner.find(orthanc.dicom_port).answers
        if one.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID == "10"
    )
    changes = {"PatientID": "H-1", "PatientName": "WRONG^NUMBER", "StudyInstanceUID": "1.2.3.10"}
    before = orthanc.get("/openmrs/status")["Notifications"]
    clinic.send(orthanc, tmp_path, answer, changes)
    clinic.until(orthanc, Held=before["Held"] + 1)
    page = visit(page_of(orthanc)).page
    expect(page.get_by_text("OpenMRS answers")).to_be_visible()

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            text = page.evaluate("document.activeElement.innerText ?? ''")
            if name in text:
                return
        raise AssertionError(f"Tab doesn't lead to {name}")

    tab_to("Notifications")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Notifications")
    tab_to("WRONG, NUMBER")
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="WRONG, NUMBER")
    expect(drawer.get_by_role("button", name="Discard")).to_be_visible()
    tab_to("Discard")
    page.keyboard.press("Enter")
    question = page.get_by_role("alertdialog")
    expect(question).to_contain_text("Discard this notification?")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    tab_to("Discard")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Discarded: OpenMRS isn't told of it.")).to_be_visible()
    clinic.until(orthanc, Held=before["Held"], Discarded=before["Discarded"] + 1)
    assert openmrs.records.statuses()[10] == "scheduled"


# --- studies -------------------------------------------------------------------------------


def test_a_study_that_is_nobodys_is_found_assigned_and_unassigned(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, "studies")).page
    stray = page.locator("ul.studies li").filter(has_text="K-0042")
    expect(stray).to_contain_text("nobody's")
    search = page.get_by_role("searchbox", name="Search")
    # By the name that OpenMRS knows: the patient, and the study in Orthanc.
    search.fill("nobody has this name")
    expect(page.get_by_text("No patient is like this.")).to_be_visible()
    search.fill("smirnov aleksey")  # in any script
    expect(page.locator(".patients a")).to_contain_text("Смирнов, Алексей Иванович")
    search.fill("K-0042")
    expect(page.get_by_role("heading", name="Studies in Orthanc")).to_be_visible()
    expect(stray).to_be_visible()
    search.fill(today.stray_of[:13])
    page.locator(".patients a").filter(has_text=today.stray_of).click()
    expect(page.get_by_text("Studies of this patient")).to_be_visible()
    # It is a candidate, with a score and reasons; assigned from there, and taken back.
    candidate = page.locator("section.patient ul.studies li").filter(has_text="K-0042")
    expect(candidate.locator(".score")).to_contain_text(re.compile(r"\d+ of 100"))
    expect(candidate.locator(".reasons li").first).to_be_visible()
    candidate.get_by_role("button", name="Assign", exact=True).click()
    question = page.get_by_role("alertdialog")
    question.get_by_role("button", name=re.compile("^Assign")).click()
    expect(candidate).to_contain_text("assigned by a person")
    candidate.get_by_role("button", name="Unassign").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Unassign").click()
    expect(candidate.get_by_role("button", name="Assign", exact=True)).to_be_visible()

    page.goto(page_of(orthanc, f"studies?study={today.stray_uid}"))
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_role("link", name="Open in Explorer")).to_be_visible()
    drawer.get_by_label("Patient: name, identifier or uuid").fill(today.stray_of)
    drawer.get_by_role("button", name="Assign", exact=True).click()
    question.get_by_role("button", name=re.compile("^Assign")).click()
    expect(page.locator(".message")).to_contain_text("is श्रेष्ठ, सीता कुमारी's now.")
    found = orthanc.get(f"/openmrs/studies/{today.stray_uid}")
    assert (found["Patient"], found["Source"]) == (today.stray_of, "assigned")

    page.goto(page_of(orthanc, f"studies?patient={today.stray_of}"))
    theirs = page.locator("section.patient ul.studies li").filter(has_text="K-0042")
    expect(theirs).to_contain_text("assigned by a person")
    theirs.get_by_role("button", name="Unassign").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Unassign").click()
    expect(page.locator(".message")).to_contain_text("is nobody's now.")
    assert orthanc.get(f"/openmrs/studies/{today.stray_uid}")["Patient"] is None


# --- it refreshes by itself ----------------------------------------------------------------


def test_what_a_person_types_and_reads_is_left_alone_while_the_list_changes(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc, "worklist")).page
    search = page.get_by_role("searchbox", name="Search")
    search.fill("do")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("p.counted")).to_contain_text(" of ")
    first = page.locator("tr[data-key]").first
    first.evaluate("row => { row.known = true; }")
    before = page.locator("p.counted").inner_text()
    openmrs.records.add_request(
        openmrs.records.add_patient("Dora", "Newcomer"),
        steps=[StepFields("CT", "CT1", f"{TODAY}235900", "235900")],
    )
    expect(page.locator("p.counted")).not_to_have_text(before)  # the new one is there
    expect(search).to_have_value("do")
    expect(search).to_be_focused()
    assert search.evaluate("field => field.selectionStart") == 1
    assert first.evaluate("row => row.known") is True

    first.get_by_role("button").click()
    drawer = page.get_by_role("dialog")
    drawer.evaluate("dialog => { dialog.known = true; }")
    drawer.get_by_label("Station (AE title)").fill("half a ti")
    openmrs.records.add_request(
        openmrs.records.add_patient("Dorian", "Latecomer"),
        steps=[StepFields("CT", "CT1", f"{TODAY}235959", "235959")],
    )
    expect(page.locator("tr[data-key]").filter(has_text="Latecomer")).to_be_attached()
    assert drawer.evaluate("dialog => dialog.known && dialog.open") is True
    expect(drawer.get_by_label("Station (AE title)")).to_have_value("half a ti")
    expect(drawer.get_by_label("Station (AE title)")).to_be_focused()


def test_an_orthanc_that_is_away_is_said_to_be_and_the_page_goes_on_when_it_is_back(
    tmp_path: Path, visit: Open
) -> None:
    with Standin("v2") as openmrs:
        clinic.orders(openmrs)
        section = {"RefreshInterval": 1}
        with ScratchOrthanc(tmp_path, {**module_keys(openmrs), "OpenMRS": section}) as orthanc:
            person = visit(page_of(orthanc, "worklist"))
            page = person.page
            expect(page.locator("p.counted")).to_have_text("12 steps")
            person.expects("ERR_CONNECTION", "ERR_EMPTY_RESPONSE")
            orthanc.kill()
            expect(page.get_by_role("alert").first).to_contain_text("Orthanc doesn't answer.")
            assert len(rows(page)) == 12  # what was there is still there
            openmrs.records.add_request(
                openmrs.records.add_patient("Dora", "Newcomer"),
                steps=[StepFields("CT", "CT1", f"{TODAY}235900", "235900")],
            )
            orthanc.start()
            expect(page.get_by_text("Orthanc doesn't answer.")).to_be_hidden()
            expect(page.locator("p.counted")).to_have_text("13 steps")
            page.close()


def test_openmrs_that_is_away_is_said_on_every_part_with_the_lists_age_and_what_was_said_goes(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    person = visit(page_of(orthanc))
    person.expects("503")
    page = person.page
    expect(page.get_by_text("OpenMRS answers")).to_be_visible()
    openmrs.set_fault(Fault("cut"), WORKLIST)
    page.get_by_role("button", name="Read the list now").click()
    said = page.locator(".message.bad")
    expect(said).to_be_visible()
    banner = page.locator(".trouble")
    for part in PARTS:
        page.goto(page_of(orthanc, part))
        expect(banner.get_by_role("alert")).to_have_text("OpenMRS can't be reached.")
        expect(banner).to_contain_text(re.compile(r"The list is \d+ \w+ old\. OpenMRS is "))
        person.no_serious_violation()
    page.goto(page_of(orthanc))
    expect(page.locator(".mark.good")).to_have_count(0)  # nothing is green beside it
    openmrs.clear_faults()
    expect(banner).to_be_hidden()
    expect(said).to_have_count(0)
    expect(page.get_by_text("OpenMRS answers")).to_be_visible()


# --- for everybody -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "language"),
    [
        ({}, "en"),
        ({"viewport": {"width": 1920, "height": 1080}, "color_scheme": "dark"}, "en"),
        ({"viewport": {"width": 360, "height": 740}, "locale": "fr-FR"}, "fr"),
        ({"viewport": {"width": 390, "height": 844}, "locale": "pt-BR"}, "pt"),
    ],
    ids=["light", "dark and wide", "narrow, in French", "narrow, in Portuguese"],
)
def test_no_part_has_a_serious_barrier_or_scrolls_sideways(
    orthanc: ScratchOrthanc,
    today: Clinic,
    visit: Open,
    options: dict[str, object],
    language: str,
) -> None:
    person = visit(page_of(orthanc), **options)
    page = person.page
    for part in PARTS:
        page.goto(page_of(orthanc, f"{part}?state=all"))
        shown = {
            "now": ".mark.good",
            "worklist": "tr[data-key]",
            "notifications": "ul.told li",
            "studies": "ul.studies li",
        }[part]
        expect(page.locator(shown).first).to_be_visible()
        person.no_sideways_scrolling()
        person.no_serious_violation()
        if part != "now":
            page.locator(f"{shown} button").first.click()
            expect(page.locator("dialog[open] dl").first).to_be_visible()
            person.no_sideways_scrolling()
            person.no_serious_violation()
            page.keyboard.press("Escape")
    assert page.locator("html").get_attribute("lang") == language


def test_in_french_all_words_are_and_dates_have_their_month_in_letters(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    page = visit(page_of(orthanc), locale="fr-FR", timezone_id="Africa/Nairobi").page
    expect(page.get_by_text("OpenMRS répond")).to_be_visible()
    since = page.locator(".facts dd").first.inner_text()
    assert re.search(r"\d{1,2} [a-zéû]+\.? \d{4}", since), since
    page.get_by_label("Langue").select_option("en")
    expect(page.get_by_text("OpenMRS answers")).to_be_visible()
    page.reload()
    expect(page.get_by_text("OpenMRS answers")).to_be_visible()  # the choice is kept


def test_a_language_that_is_written_from_right_to_left_turns_the_page_round(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    """A language that there isn't: English words between Arabic letters."""
    person = visit("about:blank", viewport={"width": 390, "height": 844})
    page = person.page
    english = orthanc.session.get(f"{orthanc.url}/openmrs/ui/texts.en.json", timeout=10).json()
    arabic = {key: f"\u0628 {text} \u0629" for key, text in english.items()}
    page.route("**/languages.json", lambda route: route.fulfill(json={"en": "en", "ar": "ar"}))
    page.route("**/texts.ar.json", lambda route: route.fulfill(json=arabic))
    page.add_init_script("localStorage.setItem('orthanc-openmrs-language', 'ar')")
    for part in PARTS:
        page.goto(page_of(orthanc, f"{part}?state=all"))
        expect(page.get_by_role("heading", level=1)).to_contain_text("\u0628")
        assert page.locator("html").get_attribute("dir") == "rtl"
        assert page.evaluate("getComputedStyle(document.body).direction") == "rtl"
        person.no_sideways_scrolling()
        person.no_serious_violation()


def test_times_are_those_of_the_browsers_zone(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    shown = {
        zone: visit(page_of(orthanc), timezone_id=zone).page.locator(".facts dd").first.inner_text()
        for zone in ("UTC", "Asia/Kathmandu")
    }
    minutes = {zone: int(text[-5:-3]) * 60 + int(text[-2:]) for zone, text in shown.items()}
    assert (minutes["Asia/Kathmandu"] - minutes["UTC"]) % (24 * 60) == 5 * 60 + 45


def test_what_people_are_called_is_text_and_never_markup(
    openmrs: Standin, orthanc: ScratchOrthanc, today: Clinic, visit: Open, tmp_path: Path
) -> None:
    evil = "<img src=x onerror=alert(1)>"
    patient = openmrs.records.add_patient(evil, "<b>bold</b>")
    request = openmrs.records.add_request(
        patient, steps=[StepFields("MG", evil[:16], f"{TODAY}070000", "070000", description=evil)]
    )
    step = str(request.steps[0].id)
    eventually(
        lambda: any(
            one["ScheduledProcedureStepID"] == step for one in orthanc.get("/openmrs/worklist")
        ),
        "the step isn't there",
    )
    answer = next(
        one
        for one in scanner.find(orthanc.dicom_port, ae_title="MG1").answers
        if one.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID == step
    )
    changes = {"PatientID": evil, "StudyInstanceUID": "1.2.3.666", "StudyDescription": evil}
    held = orthanc.get("/openmrs/status")["Notifications"]["Held"]
    clinic.send(orthanc, tmp_path, answer, changes)
    clinic.until(orthanc, Held=held + 1)
    page = visit(page_of(orthanc, "worklist")).page
    alerts: list[str] = []

    def note(dialog: Dialog) -> None:
        alerts.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    row = page.locator("tr[data-key]").filter(has_text="onerror")
    expect(row).to_contain_text("<b>bold</b>")
    row.get_by_role("button").click()
    expect(page.get_by_role("dialog")).to_contain_text(evil)
    for part in ("notifications?state=held", "studies"):
        page.goto(page_of(orthanc, part))
        found = page.locator("main li").filter(has_text="onerror")
        expect(found).to_be_visible()
        found.get_by_role("button").first.click()
        expect(page.locator("dialog[open]")).to_contain_text(evil)
        page.keyboard.press("Escape")
    assert page.locator("main img, main b, dialog img").count() == 0
    assert alerts == []


# --- ways in -------------------------------------------------------------------------------


def test_orthanc_explorer_has_ways_to_the_page(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    study = orthanc.get(f"/openmrs/studies/{today.stray_uid}")["ID"]
    patient = orthanc.get(f"/studies/{study}/patient")["ID"]
    person = visit(f"{orthanc.url}/app/explorer.html")
    page = person.page
    page.get_by_role("link", name="OpenMRS", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Now")

    page.goto(f"{orthanc.url}/app/explorer.html#study?uuid={study}")
    page.locator("#openmrs-study").click()
    expect(page.get_by_role("dialog")).to_contain_text(today.stray_uid)

    page.goto(f"{orthanc.url}/app/explorer.html#patient?uuid={patient}")
    page.locator("#openmrs-patient").click()
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("K-0042")
    expect(page.locator("ul.studies li").filter(has_text="K-0042")).to_be_visible()


@contextmanager
def behind_a_prefix(orthanc: ScratchOrthanc) -> Iterator[str]:
    """A reverse proxy that shows an Orthanc below /imaging, and says nothing of it."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass("GET")

        def do_POST(self) -> None:
            self._pass("POST")

        def _pass(self, method: str) -> None:
            if not self.path.startswith("/imaging/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = orthanc.url + self.path.removeprefix("/imaging")
            answer = requests.request(
                method,
                url,
                data=body,
                timeout=30,
                proxies={"http": ""},
                headers={
                    key: text
                    for key, text in self.headers.items()
                    if key.lower() in ("host", "origin", "sec-fetch-site")
                },
            )
            self.send_response(answer.status_code)
            for key in ("Content-Type", "Content-Security-Policy", "X-Content-Type-Options"):
                if key in answer.headers:
                    self.send_header(key, answer.headers[key])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/imaging"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("end", ["/", ""])
def test_below_the_prefix_of_a_reverse_proxy_all_works_with_and_without_the_last_slash(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open, end: str
) -> None:
    with behind_a_prefix(orthanc) as url:
        page = visit(f"{url}/openmrs/ui{end}").page
        expect(page.get_by_text("OpenMRS answers")).to_be_visible()
        page.get_by_role("button", name="Read the list now").click()
        expect(page.locator(".message")).to_contain_text("The list was read")
        page.get_by_role("link", name="Studies").click()
        page.locator("ul.studies li button").first.click()
        link = page.get_by_role("link", name="Open in Explorer")
        expect(link).to_have_attribute("href", re.compile(f"^{re.escape(url)}/app/explorer.html"))
        page.wait_for_load_state("networkidle")  # whom the images name is asked for


def test_the_browser_holds_the_page_to_what_it_may_do(
    orthanc: ScratchOrthanc, today: Clinic, visit: Open
) -> None:
    answer = orthanc.session.get(f"{orthanc.url}/openmrs/ui/", timeout=10)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    person = visit(page_of(orthanc))
    person.expects("Content Security Policy", "violates the document's")
    page = person.page
    page.evaluate(
        "() => { const script = document.createElement('script');"
        " script.textContent = 'window.intruded = true'; document.body.append(script); }"
    )
    assert page.evaluate("window.intruded") is None
    refused = page.evaluate("() => fetch('http://127.0.0.1:1/').then(() => '', (e) => e.name)")
    assert refused == "TypeError"
