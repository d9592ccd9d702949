"""What OpenMRS is told of an exam that begins, or is broken off."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.model import (
    KeptProcedure,
    Kind,
    Notification,
    NotificationState,
    PerformedProcedure,
    ProcedureRecord,
    ProcedureState,
    RequestList,
    ScheduledReference,
    StepStatus,
)
from orthanc_openmrs.mpps.announcing import Announcer, NotYet
from orthanc_openmrs.mpps.datasets import EXPLICIT
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import TODAY, FrozenClock, request, step

IN_PROGRESS, COMPLETED, DISCONTINUED = ProcedureState
NOW = 1000.0


class Hospital:
    """A list with one request of two CT steps, and a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.takes_status = True
        self.news = 0
        self.list: Snapshot | None = None
        self.status = StepStatus.SCHEDULED
        self.read(NOW)

    def read(self, at: float) -> None:
        """OpenMRS's list, read at a moment."""
        steps = tuple(step(number, status=self.status, modality="CT") for number in ("14", "15"))
        self.patient = request().patient_id
        listed = RequestList((replace(request(), steps=steps),))
        self.list = Snapshot.build(listed, read_at=at, day=TODAY)

    def announcer(self, **changes: Any) -> Announcer:
        return Announcer(
            outbox=self.database,
            snapshot=lambda: self.list,
            takes_status=lambda source: self.takes_status,
            **{"sets_back": True, "hold_patient_mismatch": True} | changes,
            on_news=self._heard,
        )

    def _heard(self) -> None:
        self.news += 1

    def performed(
        self, state: ProcedureState = IN_PROGRESS, uid: str = "1.2.3", **values: Any
    ) -> ProcedureRecord:
        """A step that is in the database."""
        usual: dict[str, Any] = {
            "references": (ScheduledReference("", "", "", "14"),),
            "patient_id": self.patient,
            "modality": "CT",
        }
        found = self.database.find_procedure(uid)
        begun = PerformedProcedure(uid, IN_PROGRESS, **usual | values)
        if found is None:
            self.database.create_procedure(KeptProcedure(begun, b"", EXPLICIT))
        if state is not IN_PROGRESS:
            before = KeptProcedure(begun, b"", EXPLICIT)
            after = replace(before, procedure=replace(begun, state=state))
            self.database.replace_procedure(before, after, 0)
        found = self.database.find_procedure(uid)
        assert found is not None
        return found

    def told(self, kind: Kind) -> list[Notification]:
        """What waits to be told."""
        return self.database.list_notifications(NotificationState.PENDING, kind=kind)


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    database = Database(f"sqlite:///{tmp_path}/openmrs.db", clock=FrozenClock(NOW))
    yield Hospital(database)
    database.close()


def test_a_step_begins_and_is_broken_off(hospital: Hospital) -> None:
    announcer = hospital.announcer()
    announcer.tell(hospital.performed())
    (row,) = hospital.told(Kind.IN_PROGRESS)
    assert row.scheduled_procedure_step_id == "14"
    assert (row.study, row.study_instance_uid, row.evidence) == ("", "", "MPPS")
    announcer.tell(hospital.performed(DISCONTINUED))
    assert hospital.told(Kind.IN_PROGRESS) == [], "the newest counts"
    (row,) = hospital.told(Kind.SCHEDULED)
    assert row.scheduled_procedure_step_id == "14"
    assert hospital.news == 2


def test_the_steps_of_a_group_are_all_told(hospital: Hospital) -> None:
    group = tuple(ScheduledReference("", "", "", number) for number in ("14", "15"))
    hospital.announcer().tell(hospital.performed(references=group))
    told = [row.scheduled_procedure_step_id for row in hospital.told(Kind.IN_PROGRESS)]
    assert told == ["14", "15"]


def test_it_is_told_once(hospital: Hospital) -> None:
    announcer = hospital.announcer()
    announcer.tell(hospital.performed())
    announcer.tell(hospital.performed(uid="1.2.4"))
    assert len(hospital.told(Kind.IN_PROGRESS)) == 1


def test_what_another_exam_goes_on_with_is_not_set_back(hospital: Hospital) -> None:
    hospital.performed(uid="1.2.4")
    hospital.announcer().tell(hospital.performed(DISCONTINUED))
    assert hospital.told(Kind.SCHEDULED) == []


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({"sets_back": False}, {}),
        ({}, {"patient_id": "another"}),
        ({}, {"references": (ScheduledReference("1.9.9"),)}),
        ({}, {"references": ()}),
    ],
)
def test_nothing_is_told(
    hospital: Hospital, changes: dict[str, Any], values: dict[str, Any]
) -> None:
    hospital.read(NOW + 10)
    hospital.announcer(**changes).tell(hospital.performed(DISCONTINUED, **values))
    assert hospital.told(Kind.SCHEDULED) == []


def test_nothing_is_told_to_an_openmrs_that_takes_no_status(hospital: Hospital) -> None:
    hospital.takes_status = False
    hospital.announcer().tell(hospital.performed())
    assert hospital.told(Kind.IN_PROGRESS) == []


def test_what_the_list_has_not_yet_waits_for_the_next(hospital: Hospital) -> None:
    announcer = hospital.announcer()
    late = hospital.performed(references=(ScheduledReference("", "", "", "16"),))
    with pytest.raises(NotYet):
        announcer.tell(late)
    hospital.list = None
    with pytest.raises(NotYet):
        announcer.tell(late)
    hospital.read(NOW + 1)
    announcer.tell(late)
    assert hospital.told(Kind.IN_PROGRESS) == []
