"""What a person may decide about a notification, in which state, and what is kept of it."""

from dataclasses import replace
from typing import Any

import pytest

from orthanc_openmrs.completion.decisions import Decisions
from orthanc_openmrs.completion.evidence import DEFAULT as EVIDENCE
from orthanc_openmrs.completion.history import history_of
from orthanc_openmrs.completion.linker import Linker
from orthanc_openmrs.completion.linking import Policy, identity_of, tokens
from orthanc_openmrs.completion.lists import OrderIndex
from orthanc_openmrs.errors import Conflict, NotFound, OpenMRSError
from orthanc_openmrs.model import (
    Kind,
    NewNotification,
    Notification,
    NotificationState,
    StepIdentity,
    StepStatus,
    StudyChange,
    StudySummary,
)
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uids import GivenUids
from tests.unit.builders import ALICE, BOB, FrozenClock, request, step, study
from tests.unit.doubles import ImagingModule

PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState
SEVEN = request("7", step("14"), step("15", modality="MR"))
EIGHT = request("8", step("21", status=StepStatus.COMPLETED))
NINE = request("9", step("31", status=StepStatus.REJECTED))
ELEVEN = request("11", step("51"), accession_number="ABDOMEN")
TEN = request("10", step("41", status=StepStatus.IN_PROGRESS), patient_id=BOB)


class Office:
    """Decisions over a database, an OpenMRS and Orthanc's studies."""

    def __init__(self) -> None:
        self.clock = FrozenClock(1000.0)
        self.openmrs = ImagingModule(SEVEN, EIGHT, NINE, TEN)
        self.at_hand: Snapshot | None = self.openmrs.snapshot()
        self.database = Database("sqlite://", clock=self.clock)
        self.studies: dict[str, StudySummary] = {"s": study(study="s", study_instance_uid="1.s")}
        self.decided = 0
        self.decisions = Decisions(
            records=self.database,
            read_study=self.studies.get,
            snapshot=lambda: self.at_hand,
            lists=self.openmrs,
            orders=OrderIndex(GivenUids, lambda: self.openmrs.generation),
            list_timeout=1,
            keep_delivered=500,
            on_decision=self.on_decision,
            clock=self.clock,
            monotonic=self.openmrs.monotonic,
        )

    def on_decision(self, study: str) -> None:
        """The linker is woken."""
        self.decided += 1

    def has(self, state: NotificationState, step: str = "14", study: str = "s") -> Notification:
        """A notification in a state."""
        self.database.note_study(study)
        (due,) = [due for due in self.database.due_studies() if due.study == study]
        row = NewNotification(
            study,
            f"1.{study}",
            HELD if state is HELD else PENDING,
            step=StepIdentity() if state is HELD else StepIdentity("7", step, ALICE, "ACC-7"),
            evidence="StudyInstanceUID",
            reason="why" if state is HELD else "",
        )
        self.database.decide_study(due, "linked", "", [row])
        made = self.database.list_notifications()[-1]
        match state:
            case NotificationState.DELIVERED:
                self.database.delivered(made)
            case NotificationState.FAILED:
                self.database.failed(made, "HTTP 409")
            case NotificationState.DISCARDED:
                self.database.discard(made, "bob")
            case _:
                pass
        return self.decisions.notification(made.id)[0]

    def states(self) -> dict[str, NotificationState]:
        """The state of each step's notification."""
        return {n.scheduled_procedure_step_id: n.state for n in self.database.list_notifications()}


@pytest.fixture
def office() -> Office:
    """Nothing is decided yet."""
    return Office()


@pytest.mark.parametrize(
    ("action", "state", "becomes"),
    [
        ("retry", PENDING, PENDING),
        ("retry", FAILED, PENDING),
        ("retry", HELD, HELD),  # until it was linked again
        ("retry", DELIVERED, None),
        ("retry", DISCARDED, None),
        ("discard", PENDING, DISCARDED),
        ("discard", FAILED, DISCARDED),
        ("discard", HELD, DISCARDED),
        ("discard", DELIVERED, None),
        ("discard", DISCARDED, None),
    ],
)
def test_what_may_be_decided_in_which_state(
    office: Office, action: str, state: NotificationState, becomes: NotificationState | None
) -> None:
    before = office.has(state)
    kept = len(office.decisions.notification(before.id)[1])
    office.clock.now += 50
    decide = getattr(office.decisions, action)
    if becomes is None:
        with pytest.raises(Conflict, match=f"notification {before.id} is {state}"):
            decide(before.id, "alice")
        assert office.decisions.notification(before.id)[0] == before
        assert (office.decided, len(office.decisions.notification(before.id)[1])) == (0, kept)
        return
    after = decide(before.id, "alice")
    assert (after.state, after.id) == (becomes, before.id)
    assert office.decided == 1
    (decision,) = office.decisions.notification(before.id)[1]
    assert (decision.at, decision.user, decision.action) == (1050, "alice", action)
    assert decision.scheduled_procedure_step_id == before.scheduled_procedure_step_id


def test_a_retry_is_at_once_however_long_the_pause(office: Office) -> None:
    told = office.has(PENDING)
    assert office.database.begin(told, 60)
    office.database.retry_later(told, 300, "HTTP 503")
    assert office.database.due_notifications() == []
    office.decisions.retry(told.id, "alice")
    (due,) = office.database.due_notifications()
    assert (due.id, due.attempts, due.next_attempt) == (told.id, 1, 1000)


def test_a_held_study_that_is_retried_is_linked_again(office: Office) -> None:
    told = office.has(HELD)
    assert office.database.due_studies() == []
    office.decisions.retry(told.id, "alice")
    (due,) = office.database.due_studies()
    office.studies["s"] = replace(office.studies["s"], accession_number="ACC-7")
    linker = Linker(
        noted=office.database,
        read_study=office.studies.get,
        snapshot=lambda: office.at_hand,
        lists=office.openmrs,
        orders=OrderIndex(GivenUids),
        policy=Policy(EVIDENCE),
        max_staleness=100,
        in_progress=lambda: True,
        on_link=lambda study: None,
        on_decisions=lambda: None,
        clock=office.clock,
        monotonic=office.openmrs.monotonic,
    )
    linker.link_study(due, office.openmrs.monotonic())
    assert office.states() == {"": DISCARDED, "14": PENDING}


def test_every_decision_is_kept_in_order(office: Office) -> None:
    told = office.has(FAILED)
    for at, (action, user) in enumerate((("retry", "alice"), ("retry", ""), ("discard", "bob"))):
        office.clock.now = 2000.0 + at
        getattr(office.decisions, action)(told.id, user)
    found = [(one.at, one.user, one.action) for one in office.decisions.notification(told.id)[1]]
    assert found == [(2000, "alice", "retry"), (2001, "", "retry"), (2002, "bob", "discard")]


@pytest.mark.parametrize("action", ["notification", "retry", "discard"])
def test_what_doesnt_exist_is_not_found(office: Office, action: str) -> None:
    arguments: tuple[Any, ...] = (1,) if action == "notification" else (1, "alice")
    with pytest.raises(NotFound, match="1"):
        getattr(office.decisions, action)(*arguments)
    assert office.decided == 0


# --- report --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("study_id", "step_id", "problem", "words"),
    [
        ("s", "14", None, ""),
        ("s", "41", None, ""),  # another patient's: a person may say so
        ("nobody's", "14", NotFound, "nobody's"),
        ("empty", "14", NotFound, "empty"),
        ("s", "99", NotFound, "99"),
        ("s", "21", Conflict, "completed"),
        ("s", "31", Conflict, "rejected"),
    ],
)
def test_what_a_person_may_report(
    office: Office, study_id: str, step_id: str, problem: type[Exception] | None, words: str
) -> None:
    office.studies["empty"] = replace(study(study="empty"), series=())
    if problem:
        with pytest.raises(problem, match=words):
            office.decisions.report(study_id, [step_id], "alice")
        assert office.states() == {}
        assert office.decided == 0
        return
    (told,) = office.decisions.report(study_id, [step_id], "alice")
    assert (told.state, told.evidence, told.study) == (PENDING, "person", "s")
    assert told.scheduled_procedure_step_id == step_id
    assert [n.id for n in office.database.due_notifications()] == [told.id]
    assert office.decided == 1
    (decision,) = office.decisions.notification(told.id)[1]
    assert (decision.at, decision.user, decision.action) == (1000, "alice", "report")


@pytest.mark.parametrize(
    ("before", "step", "after"),
    [
        (HELD, "14", {"": DISCARDED, "14": PENDING}),
        (FAILED, "14", {"14": PENDING}),
        (DISCARDED, "14", {"14": PENDING}),
        (PENDING, "14", {"14": PENDING}),
        (PENDING, "15", {"14": PENDING, "15": PENDING}),
        (DELIVERED, "15", {"14": DELIVERED, "15": PENDING}),
    ],
)
def test_a_report_takes_the_place_of_what_was_held_or_refused(
    office: Office,
    before: NotificationState,
    step: str,
    after: dict[str, NotificationState] | None,
) -> None:
    told = office.has(before)
    if after is None:
        with pytest.raises(Conflict, match="already"):
            office.decisions.report("s", [step], "alice")
        assert office.decisions.notification(told.id)[0] == told
        return
    (reported,) = office.decisions.report("s", [step], "alice")
    assert office.states() == after
    assert reported.evidence == "person"
    assert reported.scheduled_procedure_step_id == step


def test_one_decision_for_several_steps_of_two_requests(office: Office) -> None:
    office.openmrs.requests.append(ELEVEN)
    office.at_hand = office.openmrs.snapshot()
    office.has(HELD)
    told = office.decisions.report("s", ["14", "15", "51", "14"], "alice")
    assert [one.step for one in told] == [
        identity_of(SEVEN, SEVEN.steps[0]),
        identity_of(SEVEN, SEVEN.steps[1]),
        identity_of(ELEVEN, ELEVEN.steps[0]),
    ]
    assert office.states() == {"": DISCARDED, "14": PENDING, "15": PENDING, "51": PENDING}
    assert office.decided == 1
    known = history_of(office.database.history("s", "1.s"), "s")
    assert known.said
    assert tokens(office.studies["s"]) <= known.seen
    with pytest.raises(Conflict, match="completed"):
        office.decisions.report("s", ["14", "21"], "alice")
    assert office.decided == 1, "all of them, or none"


def test_a_step_that_was_told_and_is_open_again_may_be_reported(office: Office) -> None:
    told = office.has(DELIVERED)
    office.openmrs.set_status("14", StepStatus.COMPLETED)
    with pytest.raises(Conflict, match="completed"):
        office.decisions.report("s", ["14"], "alice")
    office.openmrs.set_status("14", StepStatus.SCHEDULED)
    (again,) = office.decisions.report("s", ["14"], "alice")
    assert (again.state, again.id != told.id) == (PENDING, True)
    assert office.decisions.notification(told.id)[0].state is DELIVERED


def test_what_openmrs_would_refuse_for_certain_is_refused_at_once(office: Office) -> None:
    office.openmrs.generation = "v3"
    office.at_hand = office.openmrs.snapshot()
    office.studies["s"] = replace(office.studies["s"], patient_id="another hospital's")
    with pytest.raises(Conflict, match="whole uuid"):
        office.decisions.report("s", ["14"], "alice")


@pytest.mark.parametrize("action", ["retry", "discard"])
def test_what_changed_since_a_person_saw_it_is_left_alone(office: Office, action: str) -> None:
    seen = office.has(FAILED)
    office.database.discard(seen, "bob")
    assert not getattr(office.database, action)(seen, "alice")
    assert office.decisions.notification(seen.id)[0].state is DISCARDED


def test_a_step_that_the_list_at_hand_doesnt_know_is_asked_of_a_fresh_one(office: Office) -> None:
    office.at_hand = None
    assert office.decisions.report("s", ["14"], "alice")[0].state is PENDING
    assert office.openmrs.reads == 1
    office.openmrs.away = True
    with pytest.raises(OpenMRSError):
        office.decisions.report("s", ["15"], "alice")
    assert office.states() == {"14": PENDING}


# --- the list ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "limit", "since", "steps"),
    [
        (None, 100, 0, ["14", "15", "16", ""]),
        (None, 2, 0, ["14", "15"]),
        (None, 2, 2, ["15", "16"]),
        (FAILED, 100, 0, ["15"]),
        (HELD, 100, 0, [""]),
        (DISCARDED, 100, 0, []),
    ],
)
def test_notifications_are_listed_by_id(
    office: Office, state: NotificationState | None, limit: int, since: int, steps: list[str]
) -> None:
    office.has(DELIVERED, "14")
    office.has(FAILED, "15")
    office.has(PENDING, "16")
    office.has(HELD, study="t")
    states = [state] if state else []
    found, total = office.decisions.notifications(
        *states, kind=Kind.COMPLETED, limit=limit, since=since
    )
    assert total == {None: 4, FAILED: 1, HELD: 1, DISCARDED: 0}[state]
    assert [n.scheduled_procedure_step_id for n in found] == steps


def test_what_was_delivered_long_ago_is_listed_no_more_and_in_progress_apart(
    office: Office,
) -> None:
    office.has(DELIVERED, "14")
    office.has(FAILED, "15")
    office.database.take_changes(1, [StudyChange("t", stable=False)])
    (due,) = office.database.due_studies()
    row = NewNotification("t", "1.t", PENDING, Kind.IN_PROGRESS, StepIdentity("7", "16"))
    office.database.decide_study(due, "", "", [row])

    def listed(kind: Kind) -> list[str]:
        found, _ = office.decisions.notifications(kind=kind, limit=100, since=0)
        return [n.scheduled_procedure_step_id for n in found]

    office.clock.now += 500
    assert listed(Kind.COMPLETED) == ["14", "15"]
    office.clock.now += 1
    assert listed(Kind.COMPLETED) == ["15"]
    assert listed(Kind.IN_PROGRESS) == ["16"]
