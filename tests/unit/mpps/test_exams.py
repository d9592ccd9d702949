"""When an exam's study is linked: the images that a scanner lists, in whatever order they come."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from orthanc_openmrs.model import Images, ProcedureRecord, ProcedureState
from orthanc_openmrs.mpps.announcing import NotYet
from orthanc_openmrs.mpps.datasets import EXPLICIT
from orthanc_openmrs.mpps.exams import GIVEN_UP, Exams
from orthanc_openmrs.mpps.meaning import SeriesInOrthanc, orthanc_id
from orthanc_openmrs.mpps.provider import Provider
from orthanc_openmrs.store.database import Database
from tests.unit.builders import FrozenClock
from tests.unit.mpps.datasets import SERIES, STUDY, encoded, end, scheduled, series, start

WITHIN = 900.0
PATIENT = "0f8a5c1e-5b1c-4a63-9b2b-0d3f6d2a7c11"
UID = "1.2.3"


class Archive:
    """An Orthanc with some images of one study."""

    def __init__(self) -> None:
        self.images: dict[str, set[str]] = {}
        self.stable = False
        self.patient_id = PATIENT
        self.odd = False

    def name(self, series_uid: str, uid: str) -> str:
        odd = "another" if self.odd else self.patient_id
        return orthanc_id(odd, STUDY, series_uid, uid)

    def series(self, series_instance_uid: str) -> list[SeriesInOrthanc]:
        uids = self.images.get(series_instance_uid)
        if not uids:
            return []
        names = frozenset(self.name(series_instance_uid, uid) for uid in uids)
        return [SeriesInOrthanc("study", self.patient_id, STUDY, series_instance_uid, names)]

    def instance_uids(self, series_instance_uid: str) -> frozenset[str]:
        return frozenset(self.images.get(series_instance_uid, ()))

    def studies(self, study_instance_uid: str) -> list[str]:
        return ["study"] if self.images and study_instance_uid == STUDY else []

    def is_stable(self, study: str) -> bool:
        return self.stable


class Room:
    """A scanner, an Orthanc, and the worker between them, without its thread."""

    def __init__(self, database: Database, clock: FrozenClock) -> None:
        self.archive = Archive()
        self.database, self.clock = database, clock
        self.provider = Provider(database, on_news=lambda: None)
        self.told: list[ProcedureState] = []
        self.ended: list[str] = []
        self.openmrs_is_away = False
        self.exams = Exams(
            steps=database,
            archive=self.archive,
            tell=self._tell,
            on_end=self.ended.append,
            images_within=WITHIN,
            clock=clock,
        )

    def _tell(self, record: ProcedureRecord) -> None:
        if self.openmrs_is_away:
            raise NotYet("OpenMRS is away")
        self.told.append(record.procedure.state)

    def start(self, *steps: Dataset) -> None:
        self.provider.create(UID, encoded(start(*steps)), EXPLICIT)
        self.look()

    def end(self, *performed: Dataset, status: str = "COMPLETED") -> None:
        content = end(*performed, status=status)
        if not performed:
            content.PerformedSeriesSequence = []
        self.provider.update(UID, encoded(content), EXPLICIT)
        self.look()

    def image(self, uid: str, series_uid: str = SERIES) -> None:
        """One comes."""
        self.archive.images.setdefault(series_uid, set()).add(uid)
        self.exams.instance_came(self.archive.name(series_uid, uid))
        self.look()

    def look(self, seconds: float = 0) -> None:
        """What the thread does, and does again later."""
        self.clock.now += seconds
        while self.exams.work():
            pass

    @property
    def record(self) -> ProcedureRecord:
        found = self.database.find_procedure(UID)
        assert found is not None
        return found


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    clock = FrozenClock(1000.0)
    database = Database(f"sqlite:///{tmp_path}/openmrs.db", clock=clock)
    yield Room(database, clock)
    database.close()


def test_mpps_first_the_last_image_ends_the_waiting(room: Room) -> None:
    room.start()
    room.end(series("1.1", "1.2"))
    assert room.record.images is Images.AWAITED
    room.image("1.1")
    assert room.ended == []
    room.image("1.2")
    assert room.ended == ["study"]
    record = room.record
    assert (record.images, record.come, record.expected) == (Images.COME, 2, 2)
    assert record.study == "study"
    room.look(10_000)
    assert room.ended == ["study"]


def test_images_first_the_end_of_the_exam_ends_the_waiting(room: Room) -> None:
    room.start()
    room.image("1.1")
    room.image("1.2")
    assert room.ended == []
    room.end(series("1.1", "1.2"))
    assert room.ended == ["study"]


def test_images_of_several_series_and_associations_are_waited_for_together(room: Room) -> None:
    room.start()
    room.image("1.1")
    room.end(series("1.1", "1.2"), series("1.3", series_uid="1.7"))
    room.image("1.3", "1.7")
    assert room.ended == []
    room.image("1.2")
    assert room.ended == ["study"]


def test_images_that_another_orthanc_took_are_found_soon(room: Room) -> None:
    room.start()
    room.end(series("1.1"))
    room.archive.images[SERIES] = {"1.1"}  # without a word
    room.look(1.0)
    assert room.ended == ["study"]


def test_ids_that_orthanc_made_of_something_else_are_found_by_their_uids(room: Room) -> None:
    room.archive.odd = True
    room.start()
    room.end(series("1.1", "1.2"))
    room.image("1.1")
    room.look(1.0)
    assert room.ended == []
    room.image("1.2")
    room.look(3.0)
    assert room.ended == ["study"]


def test_images_that_never_come_are_said_to_be_missing(room: Room) -> None:
    room.start()
    room.end(series("1.1", "1.2", "1.3"))
    room.image("1.1")
    room.look(WITHIN - 1)
    assert (room.record.images, room.ended) == (Images.AWAITED, [])
    room.look(1)
    assert (room.record.images, room.ended) == (Images.MISSING, ["study"])
    assert (room.record.come, room.record.expected) == (1, 3)
    room.image("1.2")
    room.image("1.3")
    assert (room.record.images, room.ended) == (Images.COME, ["study", "study"])


def test_without_any_image_nothing_ends(room: Room) -> None:
    room.start()
    room.end(series("1.1"))
    room.look(WITHIN)
    assert (room.record.images, room.ended) == (Images.MISSING, [])
    room.look(GIVEN_UP)
    assert room.database.next_due_procedure() is None


@pytest.mark.parametrize("stable", [False, True])
def test_a_step_that_lists_no_images_ends_what_is_stable_already(room: Room, stable: bool) -> None:
    room.start()
    room.image("1.1")
    room.archive.stable = stable
    room.end()
    assert room.record.images is Images.NOT_LISTED
    assert room.ended == (["study"] if stable else [])


def test_openmrs_is_told_of_the_start_and_of_the_breaking_off_once(room: Room) -> None:
    room.openmrs_is_away = True
    room.start()
    assert room.told == []
    room.openmrs_is_away = False
    room.look(5)
    assert room.told == ["IN PROGRESS"]
    room.archive.stable = True
    room.image("1.1")
    room.end(series("1.1"), status="DISCONTINUED")
    assert room.told == ["IN PROGRESS", "DISCONTINUED"]
    assert room.ended == ["study"]
    room.look(10_000)
    assert len(room.told) == 2


def test_an_exam_of_nobodys_order_is_looked_after_too(room: Room) -> None:
    room.start(scheduled("", AccessionNumber="", RequestedProcedureID=""))
    room.image("1.1")
    room.end(series("1.1"))
    assert room.ended == ["study"]


def test_an_image_of_no_exam_costs_nothing(room: Room) -> None:
    room.exams.instance_came("another")
    assert not room.exams.work()


def test_it_begins_where_it_stopped(room: Room) -> None:
    """What is awaited is in the database, so that a restart forgets nothing."""
    room.start()
    room.end(series("1.1", "1.2"))
    again = Room(room.database, room.clock)
    again.archive.images[SERIES] = {"1.1", "1.2"}
    again.look(1.0)
    assert again.ended == ["study"]
