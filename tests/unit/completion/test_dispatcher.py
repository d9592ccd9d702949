"""Which notification is handed over when, and that nothing stops the others."""

import logging
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from orthanc_openmrs.model import Kind, StepStatus
from tests.unit.builders import ALICE, within
from tests.unit.completion.site import (
    DELIVERED,
    DISCARDED,
    EIGHT,
    NINE,
    PENDING,
    SEVEN,
    Site,
    images,
)
from tests.unit.doubles import DONE, Reaction


def test_it_is_tried_for_ever_at_growing_pauses(site: Site) -> None:
    site.openmrs.usual = Reaction(status=503)
    pauses: list[float] = []
    with site.running():
        site.note(images(EIGHT))
        for attempt in range(1, 15):
            site.until_tried(attempt)
            (told,) = site.all()
            assert told.state is PENDING
            pauses.append(told.next_attempt - site.clock.now)
            site.wait(pauses[-1])
        site.openmrs.usual = DONE
        site.wait()
        site.until_states({"21": DELIVERED})
    assert all(2**at / 2 <= pause for at, pause in enumerate(pauses[:9]))
    assert all(150 <= pause <= 300 for pause in pauses[9:])


def test_before_its_time_nothing_is_tried_again(site: Site) -> None:
    site.openmrs.reactions.append(Reaction(status=503))
    with site.running():
        site.note(images(EIGHT))
        site.until_tried(1)
        site.wait(0.4)
        site.note(images(NINE))
        site.until_states({"21": PENDING, "31": DELIVERED})
    assert [step for step, _ in site.openmrs.posts] == ["21", "31"]


def test_what_was_tried_since_it_was_read_isnt_tried_as_if_it_were_new(site: Site) -> None:
    # The dispatcher reads what is due while a sender is at it: what it holds is old then.
    site.note(images(EIGHT))
    (due,) = site.database.due_studies()
    site.linker.link_study(due, site.openmrs.monotonic())
    (read_before,) = site.database.due_notifications()
    site.database.retry_later(read_before, 1, "HTTP 500")
    assert not site.database.begin(read_before, 1)
    site.database.close()


# --- order ---------------------------------------------------------------------------------


def test_a_requests_steps_are_told_in_order_and_others_are_not_held_up(site: Site) -> None:
    site.openmrs.gates["14"] = threading.Event()
    with site.running():
        site.note(images(SEVEN, "CT", "MR"))
        assert site.openmrs.reached.acquire(timeout=5)
        for other, step_id in ((EIGHT, "21"), (NINE, "31")):
            site.note(images(other))
            site.until_state(step_id, DELIVERED)
        assert [step for step, _ in site.openmrs.posts] == ["14", "21", "31"]
        site.openmrs.gates["14"].set()
        site.until_states({"14": DELIVERED, "15": DELIVERED, "21": DELIVERED, "31": DELIVERED})
    assert [step for step, _ in site.openmrs.posts] == ["14", "21", "31", "15"]


def test_a_step_that_waits_holds_none_of_its_sisters_up(site: Site) -> None:
    site.openmrs.reactions.append(Reaction(status=500))
    with site.running():
        site.note(images(SEVEN, "CT", "MR"))
        site.until_tried(1)
        site.note(images(EIGHT))
        site.until_states({"14": PENDING, "15": DELIVERED, "21": DELIVERED})
        site.wait()
        site.until_states({"14": DELIVERED, "15": DELIVERED, "21": DELIVERED})
    steps = [step for step, _ in site.openmrs.posts]
    assert steps[0] == "14"
    assert sorted(steps[1:3]) == ["15", "21"]
    assert steps[3:] == ["14"]


# --- in progress ---------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["this study", "another"])
def test_in_progress_is_never_told_after_completed(site: Site, by: str) -> None:
    with site.running():
        if by == "this study":
            site.openmrs.away = True
            site.images_come(images(EIGHT))
            site.until_states({"21": PENDING}, Kind.IN_PROGRESS)
            site.note(images(EIGHT))
            site.until_states({"21": PENDING})
            site.openmrs.away = False
            site.wait()
            site.until_states({"21": DELIVERED})
        else:
            site.openmrs.set_status("21", StepStatus.COMPLETED)
            site.images_come(images(EIGHT))
        site.until_states({"21": DISCARDED}, Kind.IN_PROGRESS)
    assert site.openmrs.told == []
    assert site.openmrs.requests[1].steps[0].status is StepStatus.COMPLETED


def test_images_of_a_study_that_was_told_put_nothing_in_progress(site: Site) -> None:
    with site.running():
        site.note(images(EIGHT))
        site.until_states({"21": DELIVERED})
        site.images_come(images(EIGHT))
        site.database.until(lambda: site.database.next_due() is None)
    assert site.openmrs.told == []
    assert site.all(Kind.IN_PROGRESS) == []


def test_first_images_that_say_nothing_yet_are_no_business_of_a_person(site: Site) -> None:
    with site.running():
        site.images_come(images(EIGHT, patient_id=ALICE))
        site.database.until(lambda: site.database.next_due() is None)
    assert site.all() == site.all(Kind.IN_PROGRESS) == []
    assert site.openmrs.reads == 0


# --- what must not stop the others ---------------------------------------------------------


@pytest.mark.parametrize(
    "problem", [RuntimeError("Orthanc's index fails"), KeyError("ID"), RecursionError()]
)
def test_one_odd_study_doesnt_stop_the_others(site: Site, problem: Exception) -> None:
    site.odd["s8"] = problem
    with site.running():
        site.note(images(EIGHT), images(NINE))
        site.until_states({"31": DELIVERED})
        del site.odd["s8"]
        site.wait()
        site.until_states({"31": DELIVERED, "21": DELIVERED})


def test_a_text_that_cant_be_stored_doesnt_stop_the_others(site: Site) -> None:
    with site.running():
        site.note(images(EIGHT, study_description="half an emoji \ud83d"), images(NINE))
        site.until_state("31", DELIVERED)


def test_one_odd_notification_doesnt_stop_the_others(site: Site) -> None:
    site.openmrs.reactions.append(Reaction(raises=RuntimeError))
    with site.running():
        site.note(images(EIGHT))
        site.database.until(lambda: bool(site.openmrs.posts))
        site.note(images(NINE))
        site.until_state("31", DELIVERED)
        site.wait()
        site.until_states({"21": DELIVERED, "31": DELIVERED})


def by_hand(site: Site, statement: str) -> None:
    """What a broken disk did to the database."""
    with site.database._transaction() as connection:
        connection.execute(sa.text(statement))


FULL = "begin select raise(abort, 'disk full'); end"


@pytest.mark.parametrize(
    ("spoil", "mend", "words", "posts"),
    [
        ("alter table studies rename to away", "alter table away rename to studies", "studies", 0),
        (
            "alter table notifications rename to away",
            "alter table away rename to notifications",
            "notifications",
            0,
        ),
        (f"create trigger full before insert on notifications {FULL}", "drop trigger full", "", 0),
        (f"create trigger full before update on notifications {FULL}", "drop trigger full", "", 0),
    ],
)
def test_a_broken_database_ends_no_thread_and_is_told_once(
    site: Site,
    caplog: pytest.LogCaptureFixture,
    spoil: str,
    mend: str,
    words: str,
    posts: int,
) -> None:
    site.note(images(EIGHT))
    by_hand(site, spoil)
    with site.running():
        site.database.until_failed(2)
        assert len(site.openmrs.posts) == posts, "nothing is sent of which no trace is kept"
        by_hand(site, mend)
        site.wait()
        site.until_states({"21": DELIVERED})
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert all(record.exc_info is None for record in errors)
    assert all(words in record.getMessage() for record in errors)
    assert 1 <= len(errors) == len({record.getMessage() for record in errors})
    assert len(site.openmrs.posts) == 1


def test_a_stop_keeps_its_deadline_while_a_send_hangs(site: Site) -> None:
    site.openmrs.gates["21"] = threading.Event()
    with site.running():
        site.note(images(EIGHT))
        assert site.openmrs.reached.acquire(timeout=5)
        started = time.monotonic()
        with within(3, "the stop keeps its deadline"):
            site.tell_to_stop()
            site.join(started + 0.2)
        assert time.monotonic() - started < 1
        assert site.states() == {"21": PENDING}


def test_a_stop_without_a_start_is_no_harm(site: Site) -> None:
    site.tell_to_stop()
    site.join(time.monotonic() + 1)


def test_what_was_pending_at_a_stop_is_sent_after_the_next_start(tmp_path: Path) -> None:
    for usual, state in ((Reaction(status=503), PENDING), (DONE, DELIVERED)):
        site = Site(tmp_path)
        site.clock.now += 1000 * (state is DELIVERED)
        site.openmrs.usual = usual
        site.studies["s8"] = images(EIGHT)
        with site.running():
            if state is PENDING:
                site.note(images(EIGHT))
                site.until_tried(1)
            site.until_states({"21": state})


def test_the_generation_is_told_by_the_answers(site: Site) -> None:
    assert site.sender.generation == ""
    with site.running():
        for reaction, of, step_id, generation in (
            (Reaction(True), EIGHT, "21", "v1"),
            (DONE, NINE, "31", "v2"),
        ):
            site.openmrs.reactions.append(reaction)
            site.note(images(of))
            site.until_state(step_id, DELIVERED)
            assert site.sender.generation == generation
