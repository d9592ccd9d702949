"""From a noted study to a delivered notification: what is done, what is never done, and the
law that nothing is lost."""

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orthanc_openmrs.completion.dispatcher import Dispatcher
from orthanc_openmrs.completion.evidence import DEFAULT as EVIDENCE
from orthanc_openmrs.completion.linker import Linker
from orthanc_openmrs.completion.linking import Outcome, Policy
from orthanc_openmrs.completion.retries import LONGEST_PAUSE, pause_after
from orthanc_openmrs.completion.sender import Sender
from orthanc_openmrs.model import (
    ImagingRequest,
    Kind,
    Notification,
    NotificationState,
    StepStatus,
    StudyChange,
    StudySummary,
)
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.worklist.items import study_instance_uid
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import ALICE, BOB, FrozenClock, request, series, step, study, within
from tests.unit.doubles import DONE, ImagingModule, Killed, Reaction, WatchedDatabase

PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState
SEVEN = request("7", step("14"), step("15", modality="MR"))
EIGHT = request("8", step("21"), patient_id=BOB)
NINE = request("9", step("31"))


def images(of: ImagingRequest, *modalities: str, **changes: Any) -> StudySummary:
    """The study of a request, with a series of each modality."""
    fields: dict[str, Any] = {
        "study": f"s{of.requested_procedure_id}",
        "study_instance_uid": study_instance_uid(of),
        "patient_id": of.patient_id,
    }
    return study(*(series(modality) for modality in modalities or ("CT",)), **(fields | changes))


class Site:
    """Linker, dispatcher and sender between Orthanc's studies, OpenMRS and a database in a file."""

    def __init__(self, path: Path, *, report_in_progress: bool = True) -> None:
        self.clock = FrozenClock(1000.0)
        self.openmrs = ImagingModule(SEVEN, EIGHT, NINE)
        self.at_hand: Snapshot | None = self.openmrs.snapshot()
        self.studies: dict[str, StudySummary] = {}
        self.odd: dict[str, Exception] = {}
        self.database = WatchedDatabase(f"sqlite:///{path / 'openmrs.db'}", clock=self.clock)
        self.report_in_progress = report_in_progress
        self.build()

    def build(self) -> None:
        """The parts as after a start."""
        self.sender = Sender(
            outcomes=self.database,
            lists=self.openmrs,
            updates=self.openmrs,
            report_in_progress=self.report_in_progress,
        )
        self.dispatcher = Dispatcher(
            outbox=self.database, deliver=self.sender.deliver, clock=self.clock
        )
        self.linker = Linker(
            noted=self.database,
            read_study=self.read_study,
            snapshot=lambda: self.at_hand,
            lists=self.openmrs,
            policy=Policy(EVIDENCE),
            in_progress=self.sender.reports_in_progress,
            on_link=lambda study: None,
            on_decisions=self.dispatcher.wake,
            clock=self.clock,
        )

    def wake(self) -> None:
        """Something was noted or decided, or is due."""
        self.linker.wake()
        self.dispatcher.wake()

    def tell_to_stop(self) -> None:
        """As Orthanc's stop does."""
        self.linker.tell_to_stop()
        self.dispatcher.tell_to_stop()

    def join(self, deadline: float) -> None:
        """As Orthanc's stop does."""
        self.linker.join(deadline)
        self.dispatcher.join(deadline)

    def read_study(self, study_id: str) -> StudySummary | None:
        """Orthanc's study."""
        if study_id in self.odd:
            raise self.odd[study_id]
        return self.studies.get(study_id)

    def note(self, *studies: StudySummary) -> None:
        """Studies are stable."""
        for one in studies:
            self.studies[one.study] = one
            self.database.note_study(one.study)
        self.wake()

    def images_come(self, one: StudySummary) -> None:
        """The first images of a study came."""
        self.studies[one.study] = one
        self.database.take_changes(1, [StudyChange(one.study, stable=False)])
        self.wake()

    def wait(self, seconds: float = LONGEST_PAUSE) -> None:
        """Time passes."""
        self.clock.now += seconds
        self.wake()

    def all(self, kind: Kind = Kind.COMPLETED) -> list[Notification]:
        """Every notification."""
        return self.database.list_notifications(kind=kind)

    def states(self, kind: Kind = Kind.COMPLETED) -> dict[str, NotificationState]:
        """The state of each step's notification."""
        return {n.scheduled_procedure_step_id: n.state for n in self.all(kind)}

    def until_states(
        self, wanted: dict[str, NotificationState], kind: Kind = Kind.COMPLETED
    ) -> None:
        """Wait until these are the steps that are told, and how they stand."""
        self.database.until(lambda: self.states(kind) == wanted, f"{wanted}, not as promised")

    def until_state(self, step_id: str, state: NotificationState) -> None:
        """Wait until one step's notification stands so, whatever the others do."""
        self.database.until(lambda: self.states().get(step_id) is state, f"{step_id}: no {state}")

    def until_listed(self, count: int) -> None:
        """Wait until there are that many notifications."""
        self.database.until(lambda: len(self.all()) >= count)

    def until_read(self, times: int) -> None:
        """Wait until OpenMRS's list was asked for that often."""
        self.database.until(lambda: self.openmrs.reads == times)

    def attempts(self) -> int:
        """The tries of all notifications."""
        return sum(told.attempts for told in self.all())

    def until_more_attempts(self, than: int) -> None:
        """Wait until something was tried, or nothing is left to try."""
        self.database.until(
            lambda: self.attempts() > than or all(n.state is DELIVERED for n in self.all())
        )

    def until_tried(self, times: int) -> None:
        """Wait until the first notification was tried that often, and isn't under way."""

        def tried() -> bool:
            first = self.all()[:1]
            return [(n.attempts, n.last_error == "under way") for n in first] == [(times, False)]

        self.database.until(tried)

    def until_decided(self, **outcomes: int) -> None:
        """Wait until that many studies were decided in each way."""
        self.database.until(lambda: self.database.outcome_counts() == outcomes, f"{outcomes}")

    @contextmanager
    def running(self) -> Iterator[None]:
        """The threads run meanwhile."""
        self.linker.start()
        self.dispatcher.start()
        try:
            yield
        finally:
            self.tell_to_stop()
            for gate in self.openmrs.gates.values():
                gate.set()
            self.join(time.monotonic() + 5)
            self.database.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Nothing runs yet."""
    return Site(tmp_path)


# --- the pauses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "longest"),
    [(0, 1), (1, 2), (2, 4), (5, 32), (8, 256), (9, 300), (10, 300), (1000, 300), (10**9, 300)],
)
def test_pauses_grow_to_five_minutes_and_are_spread(attempts: int, longest: float) -> None:
    pauses = [pause_after(attempts) for _ in range(200)]
    assert longest / 2 <= min(pauses) < longest * 0.6
    assert longest * 0.9 < max(pauses) <= longest


# --- what OpenMRS answers ------------------------------------------------------------------

PAGE = b"<!DOCTYPE html><html>Sign in</html>"
NO_ID = b"No valid procedure step IDs found in payload"


@pytest.mark.parametrize(
    ("reaction", "listed", "state", "words", "reads"),
    [
        (DONE, "", DELIVERED, "", 0),
        (Reaction(True), "", DELIVERED, "", 1),
        (Reaction(), "", PENDING, "still open", 1),
        (Reaction(), "not", FAILED, "no such step", 1),
        (Reaction(True), "away", PENDING, "connection failed", 1),
        (Reaction(body=NO_ID), "", FAILED, "No valid procedure step", 1),
        (Reaction(True, body=NO_ID), "", DELIVERED, "", 1),
        (Reaction(body=NO_ID), "not", FAILED, "No valid procedure step", 1),
        (Reaction(True, body=NO_ID), "away", PENDING, "connection failed", 1),
        (Reaction(body=b'{"saved": true}'), "", PENDING, "no verdict", 0),
        (Reaction(body=PAGE), "", PENDING, "page", 0),
        (Reaction(status=404, body=b'{"error": "unknown step"}'), "", PENDING, "unknown step", 1),
        (Reaction(status=404, body=b"unknown step"), "not", FAILED, "unknown step", 1),
        (Reaction(True, status=404), "", DELIVERED, "", 1),
        (Reaction(status=404, body=PAGE), "not", PENDING, "404", 0),
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
    site: Site,
    reaction: Reaction,
    listed: str,
    state: NotificationState,
    words: str,
    reads: int,
) -> None:
    site.openmrs.reactions.append(reaction)
    site.openmrs.away = listed == "away"
    if listed == "not":
        site.openmrs.requests.remove(EIGHT)
    with site.running():
        site.note(images(EIGHT))
        site.until_tried(1)
    (told,) = site.all()
    assert told.state is state
    assert words in told.last_error
    assert len(told.last_error.splitlines()) <= 1
    assert "<" not in told.last_error
    assert site.openmrs.posts == [("21", study_instance_uid(EIGHT))]
    assert site.openmrs.reads == reads
    if state is PENDING:
        assert 1000.5 <= told.next_attempt <= 1001


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
def test_the_list_is_read_before_a_second_try(site: Site, first: Reaction, posts: int) -> None:
    site.openmrs.reactions.append(first)
    with site.running():
        site.note(images(EIGHT))
        site.until_tried(1)
        site.wait()
        site.until_states({"21": DELIVERED})
    assert len(site.openmrs.posts) == posts
    assert site.openmrs.reads == 1
    assert site.all()[0].update == "", "personal data isn't kept"


def test_a_list_that_fails_doesnt_keep_a_notification_from_openmrs(site: Site) -> None:
    site.openmrs.reactions.append(Reaction(status=500))
    site.openmrs.away = True  # a row of another patient fails the whole list
    with site.running():
        site.note(images(EIGHT))
        site.until_tried(1)
        site.wait()
        site.until_states({"21": DELIVERED})


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
    site.linker.link_study(due)
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


def test_each_post_carries_its_own_step_only(site: Site) -> None:
    site.note(images(SEVEN, "CT", "MR"))
    (due,) = site.database.due_studies()
    site.linker.link_study(due)
    for told, step_id in zip(site.all(), ("14", "15"), strict=True):
        assert told.update.count('"seriesInfo"') == 1
        assert f'"scheduledProcedureStepID": "{step_id}"' in told.update
    site.database.close()


# --- the decision --------------------------------------------------------------------------

WRONG = images(EIGHT, patient_id=ALICE)
FOREIGN = study(study="foreign", study_instance_uid="9.9.9.1", patient_id="4711")
UNKNOWN = study(study="unknown", accession_number="typed by hand")


@pytest.mark.parametrize(
    ("noted", "at_hand", "reads", "outcome", "states"),
    [
        (images(EIGHT), "good", 0, Outcome.LINKED, {"21": PENDING}),
        (images(SEVEN, "CT", "MR"), "good", 0, Outcome.LINKED, {"14": PENDING, "15": PENDING}),
        (images(EIGHT), "none", 1, Outcome.LINKED, {"21": PENDING}),
        (FOREIGN, "good", 1, Outcome.UNLINKED, {}),
        (FOREIGN, "none", 1, Outcome.UNLINKED, {}),
        (WRONG, "good", 1, Outcome.HELD, {"": HELD}),
        (UNKNOWN, "good", 1, Outcome.HELD, {"": HELD}),
        (
            replace(UNKNOWN, accession_number="ACC-8", patient_id=BOB),
            "old",
            1,
            Outcome.LINKED,
            {"21": PENDING},
        ),
        (replace(UNKNOWN, accession_number="ACC-9"), "old", 1, Outcome.LINKED, {"31": PENDING}),
        (images(SEVEN, "DX"), "good", 1, Outcome.HELD, {"": HELD}),
        (FOREIGN, "newer", 0, Outcome.UNLINKED, {}),
        (WRONG, "newer", 0, Outcome.HELD, {"": HELD}),
        (images(request("10", step("41", status=StepStatus.COMPLETED))), "good", 1, "settled", {}),
    ],
)
def test_the_list_at_hand_decides_and_a_fresh_one_where_it_cant(
    site: Site,
    noted: StudySummary,
    at_hand: str,
    reads: int,
    outcome: str,
    states: dict[str, NotificationState],
) -> None:
    site.openmrs.requests.append(request("10", step("41", status=StepStatus.COMPLETED)))
    site.at_hand = site.openmrs.snapshot()
    if at_hand == "none":
        site.at_hand = None
    elif at_hand == "newer":
        site.at_hand = replace(site.at_hand, read_at=site.clock.now + 1)
    elif at_hand == "old":
        site.at_hand = ImagingModule(SEVEN).snapshot()
    site.note(noted)
    (due,) = site.database.due_studies()
    site.linker.link_study(due)
    assert site.openmrs.reads == reads
    assert site.database.outcome_counts() == {str(outcome): 1}
    assert site.states() == states
    assert site.database.due_studies() == []
    assert all(bool(told.reason) is (told.state is HELD) for told in site.all())
    site.database.close()


def test_a_study_that_was_deleted_is_forgotten(site: Site) -> None:
    with site.running():
        site.database.note_study("deleted")
        site.wake()
        site.until_decided(gone=1)
    assert site.all() == []


def test_a_decision_waits_while_openmrs_is_away_and_then_links(site: Site) -> None:
    site.at_hand, site.openmrs.away = None, True
    with site.running():
        site.note(images(EIGHT))
        for attempt in range(1, 4):
            site.database.until(lambda: site.database.due_studies() == [])
            assert site.openmrs.reads == attempt
            assert site.all() == []
            site.wait()
            site.until_read(attempt + 1)
        site.openmrs.away = False
        site.wait()
        site.until_states({"21": DELIVERED})


def test_studies_that_wait_for_openmrs_hold_up_no_other(site: Site) -> None:
    site.openmrs.away = True
    waiting = [replace(FOREIGN, study=f"foreign {at}") for at in range(20)]
    with site.running():
        site.note(*waiting, images(EIGHT))
        site.until_states({"21": DELIVERED})
        site.database.until(lambda: site.database.due_studies() == [])
        assert site.openmrs.reads == 1, "OpenMRS isn't asked for each of them"
        site.openmrs.away = False
        site.wait()
        site.until_decided(linked=1, unlinked=20)


def test_a_held_study_is_linked_when_a_person_asks_after_openmrs_was_corrected(site: Site) -> None:
    with site.running():
        site.note(replace(WRONG, accession_number="ACC-8"))
        site.until_states({"": HELD})
        site.openmrs.requests[1] = replace(EIGHT, patient_id=ALICE)
        site.database.retry(site.all()[0], "alice")
        site.wake()
        site.until_states({"": DISCARDED, "21": DELIVERED})


def test_the_same_study_again_tells_nothing_twice(site: Site) -> None:
    with site.running():
        site.note(images(EIGHT))
        site.until_states({"21": DELIVERED})
        site.at_hand = site.openmrs.snapshot()
        site.note(images(EIGHT))
        site.until_decided(settled=1)
    assert len(site.openmrs.posts) == 1
    assert site.states() == {"21": DELIVERED}


# --- in progress ---------------------------------------------------------------------------

ROUTE_MISSING = Reaction(status=404, body=PAGE)


@pytest.mark.parametrize(
    ("reaction", "state", "told"),
    [
        (Reaction(True), DELIVERED, ["21", "31"]),
        (ROUTE_MISSING, DISCARDED, ["21"]),
        (Reaction(status=405), DISCARDED, ["21"]),
    ],
)
def test_a_backend_without_the_route_is_found_out_once(
    site: Site, reaction: Reaction, state: NotificationState, told: list[str]
) -> None:
    site.openmrs.usual_status = reaction
    with site.running():
        site.images_come(images(EIGHT))
        site.until_states({"21": state}, Kind.IN_PROGRESS)
        site.images_come(images(NINE))
        site.database.until(lambda: site.database.next_due() is None)
        site.note(images(EIGHT), images(NINE))
        site.until_states({"21": DELIVERED, "31": DELIVERED})
    assert site.openmrs.told == [(step_id, "in progress") for step_id in told]


@pytest.mark.parametrize(("configured", "known"), [(False, True), (True, False)])
def test_in_progress_is_not_told_unasked_or_without_an_address(
    tmp_path: Path, configured: bool, known: bool
) -> None:
    site = Site(tmp_path, report_in_progress=configured)
    site.openmrs.has_step_status = known
    site.build()
    with site.running():
        site.images_come(images(EIGHT))
        site.database.until(lambda: site.database.next_due() is None)
        site.note(images(EIGHT))
        site.until_states({"21": DELIVERED})
    assert site.openmrs.told == []
    assert site.all(Kind.IN_PROGRESS) == []


def test_in_progress_is_tried_again_where_openmrs_fails(site: Site) -> None:
    site.openmrs.usual_status = Reaction(status=500)
    with site.running():
        site.images_come(images(EIGHT))
        site.database.until(lambda: [n.attempts for n in site.all(Kind.IN_PROGRESS)] == [1])
        site.openmrs.usual_status = Reaction(True)
        site.wait()
        site.until_states({"21": DELIVERED}, Kind.IN_PROGRESS)
    assert site.openmrs.requests[1].steps[0].status is StepStatus.IN_PROGRESS


@pytest.mark.parametrize("by", ["this study", "another", "the list at hand is old"])
def test_in_progress_is_never_told_after_completed(site: Site, by: str) -> None:
    with site.running():
        if by == "this study":
            site.openmrs.away = True
            site.images_come(images(EIGHT))
            site.database.until(lambda: [n.attempts for n in site.all(Kind.IN_PROGRESS)] == [1])
            site.note(images(EIGHT))
            site.until_states({"21": PENDING})
            site.openmrs.away = False
            site.wait()
            site.until_states({"21": DELIVERED})
        elif by == "another":
            site.openmrs.set_status("21", StepStatus.COMPLETED)
            site.images_come(images(EIGHT))
        else:
            site.note(images(EIGHT))
            site.until_states({"21": DELIVERED})
            site.images_come(images(EIGHT))
        site.until_states({"21": DISCARDED}, Kind.IN_PROGRESS)
    assert site.openmrs.told == []
    assert site.openmrs.requests[1].steps[0].status is StepStatus.COMPLETED


def test_first_images_that_say_nothing_yet_are_no_business_of_a_person(site: Site) -> None:
    with site.running():
        site.images_come(WRONG)
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


# --- the law -------------------------------------------------------------------------------

REACTIONS = (
    DONE,
    Reaction(status=500),
    Reaction(breaks="timeout"),
    Reaction(True, breaks="timeout"),
    Reaction(True, status=500),
    Reaction(True),
    Reaction(),
    Reaction(body=NO_ID),
    Reaction(True, body=NO_ID),
    Reaction(raises=Killed),
    Reaction(True, raises=Killed),
)
STUDIES = {
    one.study: one
    for one in (
        images(SEVEN, "CT", "MR"),
        images(SEVEN, "MR", study="s7 again", study_instance_uid="9.9.7", accession_number="ACC-7"),
        images(EIGHT),
        images(NINE, patient_id=BOB),  # of another patient than the step
        study(study="foreign", study_instance_uid="9.9.9.1", patient_id="4711"),
    )
}
RIGHT = {
    "14": {study_instance_uid(SEVEN)},
    "15": {study_instance_uid(SEVEN), "9.9.7"},
    "21": {study_instance_uid(EIGHT)},
}
COMPLETES = {"s7": {"14", "15"}, "s7 again": {"15"}, "s8": {"21"}}


class MortalDatabase(Database):
    """The real database, in a process that is killed at some transaction."""

    lives = -1
    before = False

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        self.lives -= 1
        with super()._transaction() as connection:
            yield connection
            if self.lives == 0 and self.before:
                raise Killed
        if self.lives == 0:
            raise Killed


class Delivery:
    """The plugin, an OpenMRS and chance: whatever OpenMRS answers and whenever the process is
    killed, nothing is lost, nothing is told of another patient, nothing is told twice."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.url = f"sqlite:///{folder / 'openmrs.db'}"
        self.chance = chance
        self.clock = FrozenClock(1000.0)
        self.openmrs = ImagingModule(SEVEN, EIGHT, NINE)
        self.noted: set[str] = set()
        self.start()

    def start(self) -> None:
        """As Orthanc does, with nothing but the file."""
        self.at_hand: Snapshot | None = None
        self.database = MortalDatabase(self.url, clock=self.clock)
        self.sender = Sender(
            outcomes=self.database,
            lists=self.openmrs,
            updates=self.openmrs,
            report_in_progress=False,
        )
        self.linker = Linker(
            noted=self.database,
            read_study=STUDIES.get,
            snapshot=lambda: self.at_hand,
            lists=self.openmrs,
            policy=Policy(EVIDENCE),
            in_progress=self.sender.reports_in_progress,
            on_link=lambda study: None,
            on_decisions=lambda: None,
            clock=self.clock,
        )

    def crash(self) -> None:
        """The objects go, the file stays."""
        self.database.close()
        self.start()

    def something_happens(self) -> None:
        """One of all that may; the process is started again where it is killed."""
        if self.chance.random() < 0.3:
            self.database.lives = self.chance.randint(1, 12)
            self.database.before = self.chance.random() < 0.5
        what = self.chance.choice(
            [self.is_stable, self.list_is_read, self.crash, self.person_retries]
            + 4 * [self.plugin_works]
        )
        try:
            what()
        except Killed:
            self.crash()
        self.database.lives = -1

    def is_stable(self) -> None:
        """A study; what the callback returned from counts as noted."""
        name = self.chance.choice(sorted(STUDIES))
        self.database.note_study(name)
        self.noted.add(name)

    def list_is_read(self) -> None:
        """In the background."""
        self.at_hand = self.openmrs.snapshot()

    def plugin_works(self) -> None:
        """Some time later, with an OpenMRS in some mood."""
        self.clock.now += self.chance.choice((0.5, 30, 300))
        self.openmrs.away = self.chance.random() < 0.2
        self.openmrs.reactions.clear()
        self.openmrs.reactions.extend(self.chance.choices(REACTIONS, k=4))
        self.link()
        self.send()

    def link(self) -> None:
        """What the linking thread does."""
        for due in self.database.due_studies():
            with self.database.claim(f"study {due.study}") as mine:
                if mine and self.database.is_due(due):
                    self.linker.link_study(due)

    def send(self) -> None:
        """What the dispatcher and the senders do."""
        for notification in self.database.due_notifications():
            saved = self.openmrs.completed.get(notification.scheduled_procedure_step_id)
            told = saved == notification.study_instance_uid and not self.openmrs.away
            posts = len(self.openmrs.posts)
            try:
                if self.database.begin(notification, 1):
                    self.sender.deliver(notification)
            finally:
                assert not told or len(self.openmrs.posts) == posts, "told twice"

    def person_retries(self) -> None:
        """What OpenMRS refused."""
        for refused in self.database.list_notifications(FAILED):
            self.database.retry(refused, "alice")

    def check(self) -> None:
        """What holds at any moment."""
        assert all(uid in RIGHT[step_id] for step_id, uid in self.openmrs.posts)
        for told in self.database.list_notifications():
            assert told.state is not DISCARDED
            if told.state is DELIVERED:
                assert told.scheduled_procedure_step_id in self.openmrs.completed

    def end(self) -> None:
        """OpenMRS and the plugin work again: all that was noted is told."""
        self.crash()
        self.openmrs.reactions.clear()
        self.openmrs.away = False
        for _ in range(6):
            self.person_retries()
            self.link()
            self.send()
            self.clock.now += LONGEST_PAUSE
        wanted = {step_id for name in self.noted for step_id in COMPLETES.get(name, ())}
        assert set(self.openmrs.completed) >= wanted
        told = self.database.list_notifications()
        assert {one.state for one in told} <= {DELIVERED, HELD}
        assert wanted <= {one.scheduled_procedure_step_id for one in told}
        assert {one.study for one in told if one.state is HELD} >= self.noted & {"s9"}
        assert self.database.next_due() is None


@pytest.mark.parametrize("seed", range(60))
def test_no_sequence_of_answers_and_kills_loses_or_doubles_a_notification(
    seed: int, tmp_path: Path
) -> None:
    delivery = Delivery(tmp_path, random.Random(seed))
    for _ in range(40):
        delivery.something_happens()
        delivery.check()
    delivery.end()
    delivery.database.close()


def test_the_law_holds_with_all_threads_at_work(tmp_path: Path) -> None:
    chance = random.Random(7)
    requests = [
        request(str(at), step(str(1000 + at)), step(str(2000 + at), modality="MR"))
        for at in range(30)
    ]
    openmrs = ImagingModule(*requests)
    openmrs.reactions.extend(
        reaction
        for reaction in chance.choices(REACTIONS, k=120)
        if reaction.raises is None and reaction.body != NO_ID
    )
    for start in range(4):
        site = Site(tmp_path)
        site.clock.now += 10_000 * start
        site.openmrs = openmrs
        site.at_hand = openmrs.snapshot()
        site.studies = {one.study: one for one in (images(of, "CT", "MR") for of in requests)}
        site.build()
        with site.running():
            site.note(*(images(of, "CT", "MR") for of in requests[start * 10 : start * 10 + 10]))
            if start < 3:
                site.until_listed(20 * start)
                continue  # stopped in the midst of it
            wanted = len(requests) * 2
            while sum(one.state is DELIVERED for one in site.all()) < wanted:
                attempts = site.attempts()
                site.wait()
                site.until_more_attempts(attempts)
    assert openmrs.completed == {
        one.scheduled_procedure_step_id: study_instance_uid(of)
        for of in requests
        for one in of.steps
    }
