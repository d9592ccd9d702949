"""One worklist of two sources: one that is down costs itself only."""

import math
import time
from pathlib import Path

import pytest

from orthanc_openmrs.errors import OpenMRSError, WorklistUnavailable
from orthanc_openmrs.model import ImagingRequest, Rejected, RequestList, Source
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.lists import KeptOrders
from orthanc_openmrs.worklist.board import Board
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.readers import Readers
from orthanc_openmrs.worklist.refresh import ListStore, Refresher
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uid_registry import UidRegistry
from tests.unit.builders import BOB, FrozenClock, request, step
from tests.unit.doubles import NoUids

NOON = 1751536800.0
MAX_STALENESS = 1000.0
SEVEN, EIGHT = request("7", step("14")), request("8", step("21"), patient_id=BOB)


def order(number: str, **changes: object) -> ImagingRequest:
    fields = {"accession_number": f"ORD-{number}", "source": Source.ORDERS, "order_uuid": "u"}
    return request(f"O{number}", step(f"O{number}"), **(fields | changes))


ONE, TWO = order("1"), order("2")


class Site:
    """A board with two sources."""

    def __init__(self) -> None:
        self.clock = FrozenClock(NOON)
        self.worklist = Worklist(StationRules(), max_staleness=MAX_STALENESS, clock=self.clock)
        self.names = PersonNames()
        self.heard: list[Snapshot] = []
        self.board = Board(
            self.worklist,
            uids=UidRegistry(NoUids()),
            names=lambda: self.names,
            on_snapshot=self.heard.append,
            max_staleness=MAX_STALENESS,
            clock=self.clock,
        )

    def put(self, source: Source, *requests: ImagingRequest, began: float = 0.0) -> None:
        self.board.put(source, RequestList(requests), read_at=self.clock.now, began=began)

    def touch(self, source: Source, began: float = 0.0) -> None:
        self.board.touch(source, read_at=self.clock.now, began=began)

    @property
    def served(self) -> list[str]:
        return sorted(item["ScheduledProcedureStepID"] for item in self.worklist.fresh().offered)


@pytest.fixture
def site() -> Site:
    return Site()


def test_steps_of_both_are_served_and_either_may_come_first(site: Site) -> None:
    site.put(Source.ORDERS, ONE)
    assert site.served == ["O1"]
    site.put(Source.IMAGING, SEVEN)
    assert site.served == ["14", "O1"]
    site.put(Source.ORDERS, TWO)
    assert site.served == ["14", "O2"]
    assert len(site.heard) == 3


def test_a_list_is_as_old_as_its_oldest_part_and_each_part_has_its_own_age(site: Site) -> None:
    site.put(Source.IMAGING, SEVEN, began=10.0)
    site.clock.now += 5
    site.put(Source.ORDERS, ONE, began=15.0)
    found = site.worklist.fresh()
    assert (found.read_at, found.began) == (NOON, 10.0)
    of_orders = found.as_of(Source.ORDERS)
    assert (of_orders.read_at, of_orders.began) == (NOON + 5, 15.0)
    assert of_orders.requests is found.requests
    assert found.only(Source.ORDERS).requests == (ONE,)
    assert (site.worklist.age(), site.worklist.age(Source.ORDERS)) == (5.0, 0.0)


@pytest.mark.parametrize("down", Source)
def test_a_source_that_is_down_keeps_its_part_until_that_is_too_old(
    site: Site, down: Source
) -> None:
    other = Source.ORDERS if down is Source.IMAGING else Source.IMAGING
    site.put(Source.IMAGING, SEVEN)
    site.put(Source.ORDERS, ONE)
    left = {Source.IMAGING: "14", Source.ORDERS: "O1"}
    site.clock.now += MAX_STALENESS
    site.touch(other)
    assert site.served == ["14", "O1"]
    site.clock.now += 1
    site.touch(other)
    assert site.served == [left[other]]
    assert not site.worklist.stale
    assert site.worklist.age() == MAX_STALENESS + 1  # the part that is missing is told
    part = site.worklist.fresh().part(down)
    assert part is not None
    assert not part.served
    site.touch(down)
    assert site.served == ["14", "O1"]


def test_a_query_fails_only_where_every_part_is_too_old(site: Site) -> None:
    site.put(Source.IMAGING, SEVEN)
    site.clock.now += 600
    site.put(Source.ORDERS, ONE)
    site.clock.now += MAX_STALENESS
    assert site.served == ["14", "O1"]
    site.clock.now += 1
    with pytest.raises(WorklistUnavailable):
        site.worklist.fresh()


def test_the_same_exam_is_offered_once_and_by_the_other_source_where_one_is_gone(
    site: Site,
) -> None:
    twin = order("3", accession_number=SEVEN.accession_number, patient_id=SEVEN.patient_id)
    site.put(Source.ORDERS, twin)
    assert site.served == ["O3"]
    site.put(Source.IMAGING, SEVEN)
    assert site.served == ["14"]
    assert site.worklist.fresh().skipped == 0
    site.clock.now += MAX_STALENESS + 1
    site.touch(Source.ORDERS)
    assert site.served == ["O3"]


def test_what_is_unchanged_is_made_once(site: Site) -> None:
    site.put(Source.IMAGING, SEVEN)
    site.put(Source.ORDERS, ONE)
    before = site.worklist.fresh()
    site.clock.now += 1
    site.touch(Source.ORDERS)
    assert site.worklist.fresh().items is before.items
    site.put(Source.ORDERS, ONE, TWO)
    after = site.worklist.fresh()
    assert after.step("14") is before.step("14")
    assert after.step("O1") is before.step("O1")


def test_what_could_not_be_read_of_either_is_told(site: Site) -> None:
    rejected = (Rejected(0, "x"),)
    site.board.put(Source.IMAGING, RequestList((), rejected, "v3"), read_at=NOON, began=0)
    site.board.put(Source.ORDERS, RequestList((), rejected), read_at=NOON, began=0)
    found = site.worklist.fresh()
    assert (len(found.rejected), found.generation, found.skipped) == (2, "v3", 2)


def test_steps_without_a_date_go_on_to_the_next_day(site: Site) -> None:
    site.put(Source.ORDERS, order("1"), request("8", step("21", start_date="")))
    before = site.worklist.fresh().day
    site.clock.now += 86400
    site.board.turn_of_the_day()
    assert site.worklist.snapshot is not None
    assert site.worklist.snapshot.day != before
    assert site.worklist.snapshot.parts[0].source is Source.ORDERS


# --- its readers ---------------------------------------------------------------------------


class Answers:
    """A source of which a list or a problem comes."""

    def __init__(self, requests: tuple[ImagingRequest, ...]) -> None:
        self.requests = requests
        self.problem = ""
        self.reads = 0

    def get_list(self) -> bytes:
        self.reads += 1
        if self.problem:
            raise OpenMRSError(self.problem, "x")
        return str(self.requests).encode()

    def read(self, body: bytes) -> RequestList:
        return RequestList(self.requests)


class TwoReaders(Site):
    """Both sources, read by two threads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.database = Database(f"sqlite:///{path / 'openmrs.db'}")
        self.sources = {Source.IMAGING: Answers((SEVEN,)), Source.ORDERS: Answers((ONE,))}
        stores: dict[Source, ListStore] = {
            Source.IMAGING: self.database,
            Source.ORDERS: KeptOrders(self.database),
        }
        self.readers = {
            part: Refresher(
                source,
                self.board,
                stores[part],
                interval=3600,
                part=part,
                read=source.read,
                clock=self.clock,
            )
            for part, source in self.sources.items()
        }
        self.lists = Readers(self.readers)

    def start(self) -> None:
        for reader in self.readers.values():
            reader.restore()
            reader.start()

    def stop(self) -> None:
        for reader in self.readers.values():
            reader.tell_to_stop()
            reader.join(time.monotonic() + 5)
        self.database.close()


@pytest.mark.parametrize(
    ("of", "asked"), [("", [1, 1]), ("O1", [0, 1]), ("7", [1, 0])], ids=["all", "order", "request"]
)
def test_only_the_source_that_is_meant_is_waited_for(
    tmp_path: Path, of: str, asked: list[int]
) -> None:
    two = TwoReaders(tmp_path)
    two.start()
    try:
        two.lists.read_now(5)
        before = [source.reads for source in two.sources.values()]
        found = two.lists.read_after(time.monotonic(), 5, of)
        reads = [source.reads for source in two.sources.values()]
        assert [now - then for now, then in zip(reads, before, strict=True)] == asked
        assert found.requests == (SEVEN, ONE)
        assert found.began > -math.inf
    finally:
        two.stop()


@pytest.mark.parametrize("down", Source)
def test_a_reader_that_fails_costs_its_own_source_only(tmp_path: Path, down: Source) -> None:
    two = TwoReaders(tmp_path)
    two.sources[down].problem = "unreachable"
    two.start()
    try:
        name = {Source.IMAGING: "7", Source.ORDERS: "O1"}
        other = Source.ORDERS if down is Source.IMAGING else Source.IMAGING
        assert two.lists.read_now(5).requests == two.sources[other].requests
        assert two.lists.read_after(time.monotonic(), 5, name[other])
        with pytest.raises(OpenMRSError):
            two.lists.read_after(time.monotonic(), 5, name[down])
        assert two.readers[other].status.reachable
        assert not two.readers[down].status.reachable
        two.sources[other].problem = "timeout"
        with pytest.raises(OpenMRSError):
            two.lists.read_now(5)
    finally:
        two.stop()


def test_both_parts_are_served_again_after_a_restart_with_openmrs_down(tmp_path: Path) -> None:
    two = TwoReaders(tmp_path)
    two.start()
    try:
        two.lists.read_now(5)
    finally:
        two.stop()
    again = TwoReaders(tmp_path)
    for reader in again.readers.values():
        reader.restore()
    assert again.served == ["14", "O1"]
    assert again.worklist.fresh().began == -math.inf
    again.stop()
