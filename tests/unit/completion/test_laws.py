"""The laws of the link, whatever happens in whatever order: images, lists, decisions, deletions,
re-installs of OpenMRS and crashes.

No step is closed without its own evidence, by a study that is there, or a person's word. No study
with evidence is left untold and unshown.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orthanc_openmrs.completion.decisions import Decisions
from orthanc_openmrs.completion.linker import Linker
from orthanc_openmrs.completion.linking import Policy, identity_of
from orthanc_openmrs.completion.lists import OrderIndex
from orthanc_openmrs.completion.retries import LONGEST_PAUSE
from orthanc_openmrs.completion.review import Review
from orthanc_openmrs.completion.sender import Sender
from orthanc_openmrs.errors import Conflict, NotFound, OpenMRSError
from orthanc_openmrs.model import (
    NO_STEP,
    ImagingRequest,
    Notification,
    NotificationState,
    RequestAttributes,
    StepIdentity,
    StepStatus,
    StudyChange,
    StudySummary,
)
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.engine import Engine
from orthanc_openmrs.worklist.items import study_instance_uid
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uids import GivenUids
from tests.unit.builders import BOB, FrozenClock, request, series, step, study
from tests.unit.doubles import DONE, ImagingModule, Killed, Reaction

EXAMPLES = int(os.environ.get("ORTHANC_OPENMRS_LAWS", "25"))
"""Orders of events that are tried."""

PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState
CAROL = "ca201ca2-0000-4b4b-8c8c-ba9876543210"

HEAD = request("7", step("14"), step("15", modality="MR"), accession_number="HEAD")
CHEST = request("8", step("21"), step("22"), patient_id=BOB, accession_number="CHEST")
HAND = request("9", step("31", modality="DX"), accession_number="HAND")
OTHER_HEAD = replace(HEAD, patient_id=CAROL, accession_number="OTHER HEAD")
OTHER_CHEST = replace(CHEST, patient_id=CAROL, accession_number="OTHER CHEST")
INSTALLED = (HEAD, CHEST, HAND)
INSTALLED_AGAIN = (OTHER_HEAD, OTHER_CHEST)
"""The same numbers, of other patients."""


def of(about: ImagingRequest, name: str, *modalities: str, **changes: object) -> StudySummary:
    """A study of a request, by its accession number."""
    made = study(
        *(series(modality) for modality in modalities),
        study=name,
        study_instance_uid=f"9.{name}",
        accession_number=about.accession_number,
        patient_id=about.patient_id,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def names(step_id: str, modality: str = "CT") -> tuple[object, ...]:
    """A series that names a step."""
    item = RequestAttributes(step_id)
    return (series(modality, request_attributes=(item,)),)


def steps(about: ImagingRequest, *ids: str) -> frozenset[StepIdentity]:
    """Steps of a request."""
    return frozenset(
        identity_of(about, one) for one in about.steps if one.scheduled_procedure_step_id in ids
    )


EXAMS: dict[str, tuple[StudySummary, frozenset[StepIdentity]]] = {
    # the study, the steps of which it has evidence of its own
    "both": (of(HEAD, "both", "CT", "MR"), steps(HEAD, "14", "15")),
    "by uid": (
        of(HEAD, "by uid", "MR", study_instance_uid=study_instance_uid(HEAD), accession_number=""),
        steps(HEAD, "15"),
    ),
    "late": (of(HEAD, "late", "CT"), steps(HEAD, "14")),
    "named": (of(CHEST, "named", series=names("21")), steps(CHEST, "21")),
    "silent": (of(CHEST, "silent", "CT"), frozenset()),
    "another modality": (of(HAND, "another modality", "CR"), steps(HAND, "31")),
    "wrong patient": (of(HAND, "wrong patient", "DX", patient_id=BOB), frozenset()),
    "key image": (of(CHEST, "key image", series=names("22", "KO")), frozenset()),
    "of the new one": (of(OTHER_HEAD, "of the new one", "CT"), steps(OTHER_HEAD, "14")),
    "foreign": (study(study="foreign", study_instance_uid="9.f", patient_id="4711"), frozenset()),
}
SHOWN = {"silent": CHEST, "wrong patient": HAND, "key image": CHEST}
"""What a person must see while the request has an open step."""

REACTIONS = (
    DONE,
    DONE,
    Reaction(status=500),
    Reaction(breaks="timeout"),
    Reaction(True, breaks="timeout"),
    Reaction(True, status=500),
    Reaction(True),
    Reaction(status=409, body=b"refused"),
    Reaction(body=b'{"message": "a data error", "stackTrace": []}'),
    Reaction(raises=Killed),
    Reaction(True, raises=Killed),
)


MOSTLY = st.sampled_from((True, True, True, True, False))


class MortalEngine(Engine):
    """The engine of a process that is killed at some transaction, before or after its end."""

    lives = -1
    before = False

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        self.lives -= 1
        with super().transaction() as connection:
            yield connection
            if self.lives == 0 and self.before:
                raise Killed
        if self.lives == 0:
            raise Killed


class Clinic(RuleBasedStateMachine):
    """Orthanc, OpenMRS, persons and the plugin, which is killed now and then."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = folder / f"{uuid.uuid4()}.db"
        self.clock = FrozenClock(100_000.0)
        self.openmrs = ImagingModule(*INSTALLED, clock=self.clock)
        self.openmrs.at_post = self.check_post
        self.there: dict[str, int] = {}  # studies in Orthanc, and the change that began them
        self.changes: list[StudyChange] = []
        self.cursor = 0
        self.sequence = 0
        self.reported: set[tuple[str, StepIdentity]] = set()
        self.kept: Snapshot | None = None
        self.full: list[ImagingRequest] | None = None
        self.start()

    # --- the plugin ---

    def start(self) -> None:
        """As Orthanc does, with nothing but the file and the kept list."""
        url = f"sqlite:///{self.file}"
        self.database = Database(url, clock=self.clock)
        self.engine = MortalEngine(url)
        self.database.engine = self.engine
        self.at_hand = self.kept
        self.openmrs.newest = None
        policy, orders = Policy(), OrderIndex(GivenUids)
        self.sender = Sender(
            outcomes=self.database,
            read_study=self.read_study,
            lists=self.openmrs,
            orders=orders,
            updates=self.openmrs,
            policy=policy,
            report_in_progress=False,
            monotonic=self.openmrs.monotonic,
        )
        self.linker = Linker(
            noted=self.database,
            read_study=self.read_study,
            snapshot=lambda: self.at_hand,
            lists=self.openmrs,
            orders=orders,
            policy=policy,
            max_staleness=3600,
            in_progress=lambda: False,
            on_link=lambda study: None,
            on_decisions=lambda: None,
            clock=self.clock,
            monotonic=self.openmrs.monotonic,
        )
        self.decisions = Decisions(
            records=self.database,
            read_study=self.read_study,
            snapshot=lambda: self.at_hand,
            lists=self.openmrs,
            orders=orders,
            list_timeout=1,
            keep_delivered=1e9,
            on_decision=lambda study: None,
            clock=self.clock,
            monotonic=self.openmrs.monotonic,
        )
        self.review = Review(decided=self.database, given=GivenUids, on_news=lambda: None)
        self.review.begin(self.kept)
        self.openmrs.on_read = self.on_read
        self.openmrs.newest = self.kept

    def read_study(self, name: str) -> StudySummary | None:
        """A study, where Orthanc has it."""
        return EXAMS[name][0] if name in self.there else None

    def on_read(self, snapshot: Snapshot) -> None:
        """The list is served, compared, and kept."""
        self.at_hand = snapshot
        self.review.compare(snapshot)
        self.kept = snapshot

    @contextmanager
    def mortal(self) -> Iterator[None]:
        """The process may be killed meanwhile, and is started again then."""
        try:
            yield
        except Killed:
            self.crash()
        except OpenMRSError:
            pass
        self.engine.lives = -1

    def crash(self) -> None:
        """The objects go, the file stays."""
        self.database.close()
        self.start()

    def check_post(self) -> None:
        """No step is told without its own evidence or a person's word, and none twice."""
        step_id, uid = self.openmrs.posts[-1]
        (name,) = [name for name, (exam, _) in EXAMS.items() if exam.study_instance_uid == uid]
        assert name in self.there, "told of a study that has gone"
        found = [
            (identity_of(one, each), each.status)
            for one in self.openmrs.requests
            for each in one.steps
            if each.scheduled_procedure_step_id == step_id
        ]
        ((identity, status),) = found
        assert identity in EXAMS[name][1] or (name, identity) in self.reported
        assert status.is_open

    # --- what happens ---

    @rule(name=st.sampled_from(sorted(EXAMS)), heard=MOSTLY, taken=MOSTLY)
    def images_come(self, name: str, heard: bool, taken: bool) -> None:
        """A study is stable; the callback may miss it, and the change be read later."""
        self.sequence += 2
        if name not in self.there:
            self.there[name] = self.sequence
            self.changes.append(StudyChange(name, False, self.sequence, new=True))
        self.changes.append(StudyChange(name, True, self.sequence + 1))
        if heard:
            with self.mortal():
                self.database.note_study(name)
        if taken:
            self.changes_are_read()

    @precondition(lambda self: self.there)
    @rule(data=st.data(), heard=MOSTLY)
    def study_goes(self, data: st.DataObject, heard: bool) -> None:
        """A study is deleted, and its changes with it."""
        name = data.draw(st.sampled_from(sorted(self.there)))
        del self.there[name]
        self.changes = [one for one in self.changes if one.study != name]
        self.reported = {one for one in self.reported if one[0] != name}
        if heard:
            with self.mortal():
                self.database.study_deleted(name)

    @rule()
    def changes_are_read(self) -> None:
        """What the callback missed is taken up."""
        new = [one for one in self.changes if one.sequence > self.cursor]
        with self.mortal():
            self.database.take_changes(self.sequence + 1, new)
            self.cursor = self.sequence + 1

    @rule(times=st.integers(1, 25), before=st.booleans())
    def will_be_killed(self, times: int, before: bool) -> None:
        """At one of the next transactions."""
        self.engine.lives, self.engine.before = times, before

    @rule()
    def list_is_read(self) -> None:
        """In the background."""
        self.clock.now += 10
        with self.mortal():
            self.openmrs.read()

    @rule(reactions=st.lists(st.sampled_from(REACTIONS), max_size=3), answers=MOSTLY)
    def plugin_works(self, reactions: list[Reaction], answers: bool) -> None:
        """Some time later, with an OpenMRS in some mood."""
        self.clock.now += 1
        self.openmrs.away = not answers
        self.openmrs.reactions.clear()
        self.openmrs.reactions.extend(reactions)
        with self.mortal():
            self.work()
        self.openmrs.away = False
        self.openmrs.reactions.clear()

    def work(self) -> None:
        """What all the threads do."""
        seen = self.openmrs.monotonic()
        for due in self.database.due_studies():
            if self.database.is_due(due):
                self.linker.link_study(due, seen)
        seen = self.openmrs.monotonic()
        waiting = self.database.due_notifications()
        if waiting:
            snapshot = self.openmrs.read_after(seen, 1)
            for one in waiting:
                if self.database.begin(one, 1):
                    self.sender.deliver(one, snapshot)

    @rule(
        step_id=st.sampled_from(("14", "15", "21", "22", "31")),
        status=st.sampled_from((StepStatus.SCHEDULED, StepStatus.COMPLETED, StepStatus.REJECTED)),
    )
    def somebody_changes_a_step(self, step_id: str, status: StepStatus) -> None:
        """In OpenMRS."""
        self.openmrs.set_status(step_id, status)

    @precondition(lambda self: self.full is None)
    @rule()
    def the_list_is_empty(self) -> None:
        """For a moment, and is read."""
        self.full, self.openmrs.requests = self.openmrs.requests, []
        self.list_is_read()

    @precondition(lambda self: self.full is not None)
    @rule()
    def the_list_is_back(self) -> None:
        """As it was."""
        assert self.full is not None
        self.openmrs.requests, self.full = self.full, None

    @precondition(lambda self: self.full is None)
    @rule(again=st.booleans())
    def openmrs_is_installed(self, again: bool) -> None:
        """Its numbers begin anew, or a back-up is restored."""
        self.openmrs.requests = list(INSTALLED_AGAIN if again else INSTALLED)

    @rule(data=st.data(), action=st.sampled_from(("retry", "discard")))
    def a_person_decides(self, data: st.DataObject, action: str) -> None:
        """About what is shown."""
        shown = [one.id for one in self.listed()]
        if shown:
            number = data.draw(st.sampled_from(shown))
            with self.mortal(), suppress(Conflict):
                getattr(self.decisions, action)(number, "ana")

    @precondition(lambda self: self.there)
    @rule(data=st.data(), step_id=st.sampled_from(("14", "21", "22", "31")))
    def a_person_reports(self, data: st.DataObject, step_id: str) -> None:
        """That a study completes a step."""
        name = data.draw(st.sampled_from(sorted(self.there)))
        with self.mortal(), suppress(Conflict, NotFound):
            item = (self.at_hand or self.openmrs.read()).step(step_id)
            if item is not None:
                self.reported.add((name, identity_of(item.request, item.step)))
            self.decisions.report(name, [step_id], "ana")

    # --- what holds ---

    @invariant()
    def what_is_delivered_was_told(self) -> None:
        """Only a step that OpenMRS completed is called so."""
        assert all(one.step != NO_STEP for one in self.listed() if one.state is DELIVERED)

    def listed(self) -> list[Notification]:
        """All notifications, as the test sees them: it isn't killed by that."""
        lives, self.engine.lives = self.engine.lives, -1
        found = self.database.list_notifications()
        self.engine.lives = lives
        return found

    def teardown(self) -> None:
        """All works again: what has evidence is told, or a person sees it."""
        try:
            self.all_works_again()
        finally:
            self.database.close()
            self.file.unlink()

    def all_works_again(self) -> None:
        """Nobody is killed any more, and OpenMRS answers."""
        self.crash()
        self.openmrs.reactions.clear()
        self.openmrs.away = False
        if self.full is not None:
            self.the_list_is_back()
        for _ in range(8):
            self.clock.now += LONGEST_PAUSE
            self.changes_are_read()
            self.openmrs.read()
            self.work()
        assert self.database.list_notifications(PENDING) == []
        still_open = {
            identity_of(one, each)
            for one in self.openmrs.requests
            for each in one.steps
            if each.status.is_open
        }
        for name in self.there:
            self.check_end(name, still_open)

    def check_end(self, name: str, still_open: set[StepIdentity]) -> None:
        """A study has told all, or a person sees it, or has decided about it."""
        record = self.database.history(name, EXAMS[name][0].study_instance_uid)
        rows = [row for row in record.rows if (row.study, row.life) == (name, record.life)]
        seen = any(row.state in (HELD, FAILED) for row in rows)
        decided = {row.step for row in rows if row.state is DISCARDED and row.by_person}
        said = NO_STEP in decided or any(one.action == "report" for one in record.said)
        if seen or said:
            return
        assert not (EXAMS[name][1] - decided) & still_open, f"{name}: untold and unshown"
        if name in SHOWN and SHOWN[name] in self.openmrs.requests:
            assert not any(each.status.is_open for each in SHOWN[name].steps), f"{name}: unshown"


def test_no_order_of_events_closes_anothers_step_or_loses_a_study(tmp_path: Path) -> None:
    run_state_machine_as_test(
        lambda: Clinic(tmp_path),  # type: ignore[arg-type]  # whatever makes one
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
