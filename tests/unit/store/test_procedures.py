"""Performed procedure steps in the database: none is lost, and a study finds its own."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.model import (
    DiscontinuationReason,
    Images,
    KeptProcedure,
    PerformedProcedure,
    PerformedSeries,
    ProcedureState,
    ScheduledReference,
    SeriesArrival,
    SeriesSummary,
    StudySummary,
)
from orthanc_openmrs.store.database import Database
from tests.unit.builders import FrozenClock

EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(1000.0)


@pytest.fixture
def database(tmp_path: Path, clock: FrozenClock) -> Iterator[Database]:
    one = Database(f"sqlite:///{tmp_path}/openmrs.db", clock=clock)
    one.open()
    yield one
    one.close()


def kept(uid: str = "1.2.3", **values: Any) -> KeptProcedure:
    """A step that has begun."""
    usual: dict[str, Any] = {
        "state": ProcedureState.IN_PROGRESS,
        "references": (ScheduledReference("1.5", "A-7", "7", "14"),),
        "station_name": "CTROOM",
        "performed_procedure_step_id": "PPS1",
    }
    procedure = PerformedProcedure(uid, **(usual | values))
    return KeptProcedure(procedure, b"dataset", EXPLICIT, ("remark",), "CT1")


def test_a_step_is_kept_whole(database: Database) -> None:
    whole = kept(
        patient_id="p",
        station_ae_title="CT1",
        description="Kopf – Schädel",
        modality="CT",
        start="20261125101200",
        end="20261125102000",
        discontinuation=DiscontinuationReason("110514", "DCM", "Wrong entry"),
        series=(PerformedSeries("1.5.1", 3),),
    )
    assert database.create_procedure(whole)
    assert database.load_procedure("1.2.3") == (whole, 0)
    record = database.find_procedure("1.2.3")
    assert record is not None
    assert (record.procedure, record.remarks) == (whole.procedure, ("remark",))
    assert (record.calling_ae_title, record.created, record.ended) == ("CT1", 1000.0, 0.0)


def test_a_uid_is_taken_once(database: Database) -> None:
    assert database.create_procedure(kept())
    assert not database.create_procedure(kept(description="another"))
    found = database.load_procedure("1.2.3")
    assert found is not None
    assert found[0].procedure.description == ""
    assert database.load_procedure("1.2.4") is None


def test_of_two_changes_at_once_none_is_lost(database: Database) -> None:
    database.create_procedure(kept())
    changed = []

    def change(at: int) -> None:
        while True:
            before = database.load_procedure("1.2.3")
            assert before is not None
            step, revision = before
            text = step.procedure.description + f"{at}."
            after = replace(step, procedure=replace(step.procedure, description=text))
            if database.replace_procedure(step, after, revision):
                changed.append(at)
                return

    threads = [threading.Thread(target=change, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = database.load_procedure("1.2.3")
    assert found is not None
    assert sorted(found[0].procedure.description.split(".")[:-1]) == list("01234567")
    assert found[1] == 8


def test_a_change_is_due_at_once_and_a_note_of_what_was_before_it_is_none(
    database: Database, clock: FrozenClock
) -> None:
    begun = kept()
    database.create_procedure(begun)
    (due,) = database.due_procedures()
    assert database.note_procedure(due, seconds=None, told="IN PROGRESS")
    assert database.due_procedures() == []
    assert database.next_due_procedure() is None
    ended = kept(state=ProcedureState.COMPLETED, series=(PerformedSeries("1.5.1", 3),))
    clock.now += 60
    assert database.replace_procedure(begun, ended, 0)
    assert not database.note_procedure(due, seconds=None)
    (due,) = database.due_procedures()
    assert (due.told, due.revision, due.ended, due.attempts) == ("IN PROGRESS", 1, 1060.0, 0)
    arrivals = (SeriesArrival("1.5.1", 3, 2),)
    assert database.note_procedure(
        due, seconds=5, images=Images.AWAITED, arrivals=arrivals, study="study"
    )
    assert database.due_procedures() == []
    assert database.next_due_procedure() == 1065.0
    database.wake_procedures(["1.2.3"])
    (due,) = database.due_procedures()
    assert (due.images, due.arrivals, due.study) == (Images.AWAITED, arrivals, "study")
    assert (due.expected, due.come) == (3, 2)


STUDY = StudySummary(
    "study",
    "1.5",
    series=(
        SeriesSummary("1.5.9", station_name="CTROOM", performed_procedure_step_id="PPS9"),
        SeriesSummary("1.5.8"),
    ),
)


@pytest.mark.parametrize(
    ("values", "referenced", "found"),
    [
        ({}, (), True),
        ({"references": ()}, (), False),
        ({"references": (ScheduledReference("1.6"),)}, (), False),
        ({"references": (), "series": (PerformedSeries("1.5.8", 1),)}, (), True),
        ({"references": (), "performed_procedure_step_id": "PPS9"}, (), True),
        (
            {
                "references": (),
                "performed_procedure_step_id": "PPS9",
                "station_name": "ANOTHER",
            },
            (),
            False,
        ),
        ({"references": ()}, ("1.2.3",), True),
        ({"references": ()}, ("1.2.4",), False),
    ],
)
def test_a_study_finds_the_steps_of_its_images(
    database: Database, values: dict[str, Any], referenced: tuple[str, ...], found: bool
) -> None:
    database.create_procedure(kept(**values))
    uids = [one.procedure.uid for one in database.procedures_of(STUDY, referenced)]
    assert uids == (["1.2.3"] if found else [])


def test_series_that_come_with_the_end_find_it_too(database: Database) -> None:
    begun = kept(references=())
    database.create_procedure(begun)
    ended = kept(
        references=(), state=ProcedureState.COMPLETED, series=(PerformedSeries("1.5.8", 1),)
    )
    assert database.replace_procedure(begun, ended, 0)
    assert database.replace_procedure(begun, ended, 1)
    assert [one.procedure.uid for one in database.procedures_of(STUDY)] == ["1.2.3"]


def test_steps_of_a_scheduled_one_are_found(database: Database) -> None:
    for at in range(3):
        database.create_procedure(
            kept(f"1.2.{at}", references=(ScheduledReference("1.5", "", "7", f"{14 + at}"),))
        )
    found = database.procedures_of_steps(["14", "16", "99"])
    assert [one.procedure.uid for one in found] == ["1.2.0", "1.2.2"]


def test_they_are_listed_newest_first_and_counted(database: Database) -> None:
    for at in range(5):
        database.create_procedure(kept(f"1.2.{at}"))
    ended = kept("1.2.1", state=ProcedureState.COMPLETED)
    database.replace_procedure(kept("1.2.1"), ended, 0)
    (record,) = database.list_procedures(ProcedureState.COMPLETED)
    database.note_procedure(record, seconds=None, images=Images.MISSING)
    assert [one.procedure.uid for one in database.list_procedures(limit=2)] == ["1.2.4", "1.2.3"]
    second = database.list_procedures(limit=2)[-1].id
    following = database.list_procedures(limit=2, before=second)
    assert [one.procedure.uid for one in following] == ["1.2.2", "1.2.1"]
    assert database.procedure_counts() == {"IN PROGRESS": 4, "COMPLETED": 1, "missing": 1}


def test_what_nobody_changed_for_long_goes(database: Database, clock: FrozenClock) -> None:
    database.create_procedure(kept("1.2.1"))
    clock.now += 100
    database.create_procedure(kept("1.2.2"))
    assert database.expire_procedures(1050.0, limit=1)
    assert not database.expire_procedures(1050.0)
    assert [one.procedure.uid for one in database.list_procedures()] == ["1.2.2"]
    assert [one.procedure.uid for one in database.procedures_of(STUDY)] == ["1.2.2"]
