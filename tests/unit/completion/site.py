"""All parts of completion, put together for their unit tests."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orthanc_openmrs.completion.decisions import Decisions
from orthanc_openmrs.completion.dispatcher import Dispatcher
from orthanc_openmrs.completion.evidence import DEFAULT
from orthanc_openmrs.completion.linker import Linker
from orthanc_openmrs.completion.linking import Policy
from orthanc_openmrs.completion.lists import OrderIndex
from orthanc_openmrs.completion.retries import LONGEST_PAUSE
from orthanc_openmrs.completion.review import Review
from orthanc_openmrs.completion.sender import OrderUpdates, Sender
from orthanc_openmrs.model import (
    ImagingRequest,
    Kind,
    Notification,
    NotificationState,
    StepStatus,
    StudyChange,
    StudySummary,
)
from orthanc_openmrs.worklist.items import study_instance_uid
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uids import GivenUids
from tests.unit.builders import BOB, FrozenClock, request, series, step, study
from tests.unit.doubles import ImagingModule, WatchedDatabase

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
    """All parts of completion between Orthanc's studies, OpenMRS and a database in a file."""

    def __init__(self, path: Path, *, report_in_progress: bool = True) -> None:
        self.clock = FrozenClock(1000.0)
        self.openmrs = ImagingModule(SEVEN, EIGHT, NINE, clock=self.clock)
        self.at_hand: Snapshot | None = self.openmrs.snapshot()
        self.studies: dict[str, StudySummary] = {}
        self.odd: dict[str, Exception] = {}
        self.database = WatchedDatabase(f"sqlite:///{path / 'openmrs.db'}", clock=self.clock)
        self.report_in_progress = report_in_progress
        self.order_updates: OrderUpdates | None = None
        self.broken_off = StepStatus.SCHEDULED
        self.given = GivenUids()
        self.build()

    def build(self) -> None:
        """The parts as after a start."""
        policy = Policy(DEFAULT)
        orders = OrderIndex(lambda: self.given, lambda: self.sender.generation)
        self.sender = Sender(
            outcomes=self.database,
            read_study=self.read_study,
            lists=self.openmrs,
            orders=orders,
            updates=self.openmrs,
            order_updates=self.order_updates,
            policy=policy,
            report_in_progress=self.report_in_progress,
            broken_off=self.broken_off,
            on_doubt=lambda: self.linker.wake(),
            monotonic=self.openmrs.monotonic,
        )
        self.dispatcher = Dispatcher(
            outbox=self.database,
            lists=self.openmrs,
            deliver=self.sender.deliver,
            clock=self.clock,
            monotonic=self.openmrs.monotonic,
        )
        self.linker = Linker(
            noted=self.database,
            read_study=self.read_study,
            snapshot=lambda: self.at_hand,
            lists=self.openmrs,
            orders=orders,
            policy=policy,
            max_staleness=1000,
            in_progress=self.sender.reports_in_progress,
            on_link=lambda study: None,
            on_decisions=self.dispatcher.wake,
            clock=self.clock,
            monotonic=self.openmrs.monotonic,
        )
        self.review = Review(
            decided=self.database, given=lambda: self.given, on_news=self.linker.wake
        )
        self.openmrs.on_read = self.read
        self.decisions = Decisions(
            records=self.database,
            read_study=self.read_study,
            snapshot=lambda: self.at_hand,
            lists=self.openmrs,
            orders=orders,
            list_timeout=1,
            keep_delivered=500,
            on_decision=lambda study: self.wake(),
            clock=self.clock,
            monotonic=self.openmrs.monotonic,
        )

    def link(self) -> None:
        """What the linking thread does with what is due."""
        seen = self.openmrs.monotonic()
        for due in self.database.due_studies():
            self.linker.link_study(due, seen)

    def read(self, snapshot: Snapshot) -> None:
        """A list was read."""
        self.review.compare(snapshot)
        self.at_hand = snapshot
        self.dispatcher.wake()

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
