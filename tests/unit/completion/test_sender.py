"""What is asked before OpenMRS is told, and what its answer and its list mean together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orthanc_openmrs.completion.linking import PERSON, WHOLE_PATIENT_ID
from orthanc_openmrs.completion.sender import SAME_WORDS
from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Kind, Notification, StepStatus
from orthanc_openmrs.worklist.items import study_instance_uid
from tests.unit.builders import ALICE, BOB, series, step
from tests.unit.completion.site import (
    DELIVERED,
    DISCARDED,
    EIGHT,
    FAILED,
    HELD,
    NINE,
    PENDING,
    SEVEN,
    Site,
    images,
)
from tests.unit.doubles import DONE, Reaction


def linked(site: Site, about: object = EIGHT) -> Notification:
    """The study of a request was decided, and OpenMRS is to be told."""
    assert about in (SEVEN, EIGHT, NINE)
    site.note(images(about))
    site.link()
    return site.database.due_notifications()[-1]


def told(site: Site, one: Notification) -> Notification:
    """It is tried once, by a list that is read now."""
    try:
        snapshot = site.openmrs.read_after(site.openmrs.monotonic(), 1)
    except OpenMRSError:
        snapshot = site.openmrs.snapshot()
    assert site.database.begin(one, 1)
    site.sender.deliver(one, snapshot)
    found = site.database.notification(one.id)
    assert found is not None
    return found


# --- what OpenMRS answers ------------------------------------------------------------------

PAGE = b"<!DOCTYPE html><html>Sign in</html>"
NO_ID = b"No valid procedure step IDs found in payload"
EXCEPTION = b'{"message": "could not execute statement", "stackTrace": []}'


@pytest.mark.parametrize(
    ("reaction", "after", "state", "words", "reads"),
    [
        (DONE, "", DELIVERED, "", 0),
        (Reaction(True), "", DELIVERED, "", 1),
        (Reaction(), "", PENDING, "still open", 1),
        (Reaction(), "gone", FAILED, "no such step", 1),
        (Reaction(True), "away", PENDING, "connection failed", 1),
        (Reaction(body=NO_ID), "", FAILED, "No valid procedure step", 1),
        (Reaction(True, body=NO_ID), "", DELIVERED, "", 1),
        (Reaction(body=NO_ID), "gone", FAILED, "No valid procedure step", 1),
        (Reaction(True, body=NO_ID), "away", PENDING, "connection failed", 1),
        (Reaction(body=b'{"saved": true}'), "", PENDING, "no verdict", 0),
        (Reaction(body=EXCEPTION), "", PENDING, "could not execute", 1),
        (Reaction(True, body=EXCEPTION), "", DELIVERED, "", 1),
        (Reaction(True, status=500, body=EXCEPTION[:-2]), "", DELIVERED, "", 1),
        (Reaction(body=EXCEPTION), "away", PENDING, "connection failed", 1),
        (Reaction(body=PAGE), "", PENDING, "page", 0),
        (Reaction(status=404, body=b'{"error": "unknown step"}'), "", PENDING, "unknown step", 1),
        (Reaction(status=404, body=b"unknown step"), "gone", FAILED, "unknown step", 1),
        (Reaction(True, status=404), "", DELIVERED, "", 1),
        (Reaction(status=404, body=PAGE), "gone", PENDING, "404", 0),
        (Reaction(status=404), "away", PENDING, "connection failed", 1),
        (Reaction(status=400, body=b"Invalid Orthanc update payload"), "", FAILED, "Invalid", 0),
        (Reaction(status=400, body=PAGE), "", PENDING, "400", 0),
        (Reaction(status=409, body=b"another patient"), "", FAILED, "another patient", 0),
        (Reaction(status=500), "", PENDING, "500", 0),
        (Reaction(True, status=500, body=PAGE), "", PENDING, "500", 0),
        (Reaction(status=503), "away", PENDING, "503", 0),
        (Reaction(status=401), "", PENDING, "401", 0),
        (Reaction(status=302), "", PENDING, "302", 0),
        (Reaction(breaks="timeout"), "", PENDING, "timeout", 0),
        (Reaction(True, breaks="timeout"), "", PENDING, "timeout", 0),
        (Reaction(breaks="unreachable"), "away", PENDING, "unreachable", 0),
    ],
)
def test_the_answer_and_the_list_decide_the_state(
    site: Site, reaction: Reaction, after: str, state: object, words: str, reads: int
) -> None:
    one = linked(site)

    def meanwhile() -> None:
        site.openmrs.away = after == "away"
        if after == "gone":
            site.openmrs.requests.remove(EIGHT)

    site.openmrs.reactions.append(reaction)
    site.openmrs.at_post = meanwhile
    before = site.openmrs.reads
    found = told(site, one)
    assert (found.state, site.openmrs.reads - before) == (state, reads + 1)
    assert words in found.last_error
    assert len(found.last_error.splitlines()) <= 1
    assert "<" not in found.last_error
    assert site.openmrs.posts == [("21", study_instance_uid(EIGHT))]
    if state is PENDING:
        assert site.clock.now + 0.5 <= found.next_attempt <= site.clock.now + 1


@pytest.mark.parametrize(
    ("first", "posts"),
    [
        (Reaction(True, status=500), 1),
        (Reaction(True, breaks="timeout"), 1),
        (Reaction(True, body=PAGE), 1),
        (Reaction(status=500), 2),
        (Reaction(breaks="unreachable"), 2),
    ],
)
def test_what_was_saved_though_the_answer_said_otherwise_isnt_told_again(
    site: Site, first: Reaction, posts: int
) -> None:
    site.openmrs.reactions.append(first)
    again = told(site, linked(site))
    assert told(site, again).state is DELIVERED
    assert len(site.openmrs.posts) == posts


def test_the_same_words_again_and_again_are_believed(site: Site) -> None:
    one = linked(site)
    words = [b"a", b"b", b"b", b"a", b"a", b"a"]
    for said in words:
        assert one.state is PENDING
        body = b'{"message": "column \'%s\' cannot be null", "stackTrace": []}' % said
        site.openmrs.reactions.append(Reaction(body=body))
        one = told(site, one)
    assert one.state is FAILED
    assert "column 'a' cannot be null" in one.last_error
    assert len(site.openmrs.posts) == len(words)
    assert words[-SAME_WORDS:] == [b"a"] * SAME_WORDS

    site.database.retry(one, "alice")
    site.openmrs.reactions.append(Reaction(body=b'{"message": "column \'a\'", "stackTrace": []}'))
    (one,) = site.database.due_notifications()
    assert told(site, one).state is PENDING, "a person's retry counts anew"


def test_another_problem_between_them_makes_them_others(site: Site) -> None:
    one = linked(site)
    for reaction in (Reaction(body=EXCEPTION), Reaction(status=503)) * SAME_WORDS:
        site.openmrs.reactions.append(reaction)
        one = told(site, one)
    assert one.state is PENDING


# --- the second look -----------------------------------------------------------------------


def rejected(site: Site) -> None:
    site.openmrs.set_status("21", StepStatus.REJECTED)


def completed(site: Site) -> None:
    site.openmrs.set_status("21", StepStatus.COMPLETED)


def installed_again(site: Site) -> None:
    site.openmrs.requests = [replace(EIGHT, patient_id=ALICE, accession_number="new")]


def installed_again_and_done(site: Site) -> None:
    installed_again(site)
    completed(site)


def number_typed(site: Site) -> None:
    site.openmrs.requests = [replace(EIGHT, accession_number="typed")]


def moved(site: Site) -> None:
    site.openmrs.requests = [replace(SEVEN, steps=(*SEVEN.steps, *EIGHT.steps))]


def sister_added(site: Site) -> None:
    site.openmrs.requests = [replace(EIGHT, steps=(*EIGHT.steps, step("22")))]


def deleted(site: Site) -> None:
    del site.studies["s8"]


def corrected(site: Site) -> None:
    site.studies["s8"] = replace(site.studies["s8"], patient_id="somebody else's")


def named_another(site: Site) -> None:
    site.studies["s8"] = images(NINE, study="s8", study_instance_uid=study_instance_uid(NINE))


def made_again(site: Site) -> None:
    site.database.study_deleted("s8")


def without_images(site: Site) -> None:
    site.studies["s8"] = replace(site.studies["s8"], series=())


@pytest.mark.parametrize(
    ("meanwhile", "state", "words"),
    [
        (rejected, HELD, "step 21 is rejected in OpenMRS by now"),
        (completed, DISCARDED, "completed already"),
        (installed_again, HELD, "step 21 of OpenMRS's list is not of that request"),
        (installed_again_and_done, HELD, "step 21 of OpenMRS's list is not of that request"),
        (number_typed, HELD, "accession number"),
        (moved, HELD, "not of that request"),
        (sister_added, HELD, "several steps"),
        (deleted, DISCARDED, "no longer in Orthanc"),
        (without_images, DISCARDED, "no longer in Orthanc"),
        (corrected, HELD, "PatientID"),
        (made_again, DISCARDED, "deleted"),
    ],
)
@pytest.mark.parametrize("attempts", [0, 1])
def test_nothing_is_told_that_isnt_so_any_more(
    site: Site, meanwhile: Callable[[Site], None], state: object, words: str, attempts: int
) -> None:
    one = linked(site)
    if attempts:
        site.openmrs.reactions.append(Reaction(status=503))
        one = told(site, one)
        site.openmrs.posts.clear()
    meanwhile(site)
    if meanwhile is made_again:
        assert site.database.due_notifications() == [], "it was withdrawn with its study"
        found = site.database.notification(one.id)
        assert found is not None
    else:
        found = told(site, one)
    if meanwhile is completed and attempts:
        assert found.state is DELIVERED, "the earlier try may have been saved"
    else:
        assert found.state is state
        assert words in found.reason + found.last_error
    assert site.openmrs.posts == []
    assert [due.study for due in site.database.due_studies()] == ["s8"] * (found.state is HELD)


def test_what_was_in_doubt_is_decided_anew_and_told_where_it_is_right(site: Site) -> None:
    one = linked(site)
    number_typed(site)
    assert told(site, one).state is HELD
    site.given = site.given.and_([])
    site.studies["s8"] = replace(site.studies["s8"], accession_number="typed")
    site.link()
    (again,) = site.database.due_notifications()
    assert again.step.accession_number == "typed"
    assert told(site, again).state is DELIVERED
    assert [one.state for one in site.all()] == [DISCARDED, DELIVERED]


@pytest.mark.parametrize(
    ("meanwhile", "state"),
    [(None, DELIVERED), (corrected, DELIVERED), (sister_added, DELIVERED), (rejected, HELD),
     (installed_again, HELD), (deleted, DISCARDED)],
)  # fmt: skip
def test_what_a_person_said_needs_no_evidence_but_must_still_be_that_order(
    site: Site, meanwhile: Callable[[Site], None] | None, state: object
) -> None:
    site.note(images(EIGHT, study_instance_uid="9.9.9", patient_id="another hospital's"))
    site.link()
    (one,) = site.decisions.report("s8", ["21"], "ana")
    if meanwhile:
        meanwhile(site)
    found = told(site, one)
    assert (found.state, found.evidence) == (state, PERSON)
    site.link()
    again = site.database.notification(found.id)
    assert again is not None
    assert again.state is state, "deciding anew doesn't hide what a person said"


@pytest.mark.parametrize(
    ("reaction", "known", "state", "words"),
    [
        (Reaction(True), True, DELIVERED, ""),
        (Reaction(), True, PENDING, "still open"),
        (Reaction(status=404), True, FAILED, "with request 9 already"),
        (Reaction(status=500), True, PENDING, "500"),
        (Reaction(True), False, FAILED, "with request 9 already"),
    ],
)
def test_a_study_of_two_requests_is_told_by_the_steps_status_for_the_second(
    site: Site, reaction: Reaction, known: bool, state: object, words: str
) -> None:
    """OpenMRS has a column for one request's study, and it is unique."""
    site.note(images(EIGHT, study_instance_uid="9.9.9"))
    site.link()
    (one,) = site.decisions.report("s8", ["21"], "ana")
    site.openmrs.requests[2] = replace(NINE, study_instance_uid="9.9.9")
    site.openmrs.usual_status = reaction
    site.openmrs.has_step_status = known
    found = told(site, one)
    assert found.state is state
    assert words in found.last_error
    assert site.openmrs.posts == []
    assert site.openmrs.told == [("21", "completed")] * known


@pytest.mark.parametrize(("by_list", "by_answer"), [("v3", ""), ("", "v3"), ("v2", "")])
def test_an_openmrs_that_wants_the_whole_patient_id_is_known_by_list_or_answer(
    site: Site, by_list: str, by_answer: str
) -> None:
    site.note(images(EIGHT, patient_id=BOB[:20]))
    site.link()
    (one,) = site.database.due_notifications()
    site.openmrs.generation = by_list
    site.sender._generation = by_answer
    found = told(site, one)
    if "v3" in (by_list, by_answer):
        assert (found.state, found.reason) == (HELD, WHOLE_PATIENT_ID)
    else:
        assert found.state is DELIVERED


def test_another_study_of_the_step_that_was_told_meanwhile_is_seen(site: Site) -> None:
    site.note(
        images(EIGHT),
        images(EIGHT, study="s8 too", study_instance_uid="9.8", accession_number="ACC-8"),
    )
    site.link()
    first, second = site.all()
    snapshot = site.openmrs.read_after(site.openmrs.monotonic(), 1)
    for one in (first, second):
        assert site.database.begin(one, 1)
        site.sender.deliver(one, snapshot)
    assert [one.state for one in site.all()] == [DELIVERED, DISCARDED]
    assert len(site.openmrs.posts) == 1


def test_each_post_carries_its_own_step_and_the_study_as_it_is(site: Site) -> None:
    site.note(images(SEVEN, "CT", "MR"))
    site.link()
    site.studies["s7"] = replace(site.studies["s7"], study_description="corrected")
    for one in site.database.due_notifications():
        told(site, one)
    assert [update.body["studyInfo"]["studyDescription"] for update in site.openmrs.updates] == [
        "corrected"
    ] * 2
    entries = [update.body["seriesList"] for update in site.openmrs.updates]
    assert [
        [(entry["scheduledProcedureStepID"], entry["seriesInfo"]["modality"]) for entry in of]
        for of in entries
    ] == [[("14", "CT")], [("15", "MR")]]


# --- in progress ---------------------------------------------------------------------------


def arriving(site: Site) -> Notification:
    """First images of a study came."""
    site.images_come(images(EIGHT))
    site.link()
    (one,) = site.database.due_notifications()
    assert one.kind is Kind.IN_PROGRESS
    return one


@pytest.mark.parametrize(
    ("status", "state", "posts"),
    [
        (StepStatus.SCHEDULED, DELIVERED, 1),
        (StepStatus.IN_PROGRESS, DISCARDED, 0),
        (StepStatus.COMPLETED, DISCARDED, 0),
        (StepStatus.REJECTED, DISCARDED, 0),
    ],
)
def test_in_progress_is_told_of_a_scheduled_step_only(
    site: Site, status: StepStatus, state: object, posts: int
) -> None:
    one = arriving(site)
    site.openmrs.set_status("21", status)
    assert told(site, one).state is state
    assert site.openmrs.told == [("21", "in progress")] * posts


def test_in_progress_of_a_study_that_is_another_by_now_is_no_business_of_a_person(
    site: Site,
) -> None:
    one = arriving(site)
    corrected(site)
    assert told(site, one).state is DISCARDED
    assert site.all(Kind.IN_PROGRESS) == [site.database.notification(one.id)]
    assert site.all() == []


@pytest.mark.parametrize(
    ("reaction", "state", "goes_on"),
    [
        (Reaction(True), DELIVERED, True),
        (Reaction(status=404, body=PAGE), DISCARDED, False),
        (Reaction(status=405), DISCARDED, False),
        (Reaction(status=500), PENDING, True),
        (Reaction(breaks="timeout"), PENDING, True),
    ],
)
def test_a_backend_without_the_route_is_found_out_once(
    site: Site, reaction: Reaction, state: object, goes_on: bool
) -> None:
    site.openmrs.usual_status = reaction
    assert told(site, arriving(site)).state is state
    assert site.sender.reports_in_progress() is goes_on


@pytest.mark.parametrize(("configured", "known"), [(False, True), (True, False)])
def test_in_progress_is_not_told_unasked_or_without_an_address(
    tmp_path: Path, configured: bool, known: bool
) -> None:
    site = Site(tmp_path, report_in_progress=configured)
    site.openmrs.has_step_status = known
    site.build()
    assert not site.sender.reports_in_progress()
    site.images_come(images(EIGHT))
    site.link()
    assert site.all(Kind.IN_PROGRESS) == []
    site.database.close()


def test_the_generation_is_told_by_the_answers(site: Site) -> None:
    assert site.sender.generation == ""
    for about, reaction, generation in ((EIGHT, Reaction(True), "v1"), (NINE, DONE, "v2")):
        site.openmrs.reactions.append(reaction)
        told(site, linked(site, about))
        assert site.sender.generation.startswith(generation)


def test_the_representative_series_is_of_the_steps_modality(site: Site) -> None:
    site.note(images(EIGHT, series=(series("SR"), series("CT"))))
    site.link()
    (one,) = site.database.due_notifications()
    told(site, one)
    (update,) = site.openmrs.updates
    assert update.body["seriesList"][0]["seriesInfo"]["modality"] == "CT"
