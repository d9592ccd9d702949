"""What one scanner gets, and when no answer is better than an old one."""

import time
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO

import pydicom
import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from orthanc_openmrs.errors import WorklistUnavailable
from orthanc_openmrs.model import ImagingRequest, RequestList
from orthanc_openmrs.worklist.matching import Station
from orthanc_openmrs.worklist.query import parse_query
from orthanc_openmrs.worklist.service import StationRules, Worklist, _Identifier
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import FrozenClock, identifier, request, step

NOON = datetime(2025, 7, 3, 12, 0).timestamp()
ASKED = identifier(
    {"PatientName": ""},
    {
        "ScheduledStationAETitle": "",
        "ScheduledProcedureStepID": "",
        "ScheduledProcedureStepStartDate": "",
    },
)


def served(
    *requests: ImagingRequest, rules: StationRules | None = None, clock: FrozenClock | None = None
) -> Worklist:
    """A worklist that was read just now."""
    now = clock or FrozenClock(NOON)
    worklist = Worklist(rules or StationRules(codec="utf-8"), max_staleness=100, clock=now)
    found = RequestList(requests)
    worklist.replace(Snapshot.build(found, read_at=now.now, day=worklist.today()))
    return worklist


def answered(worklist: Worklist, query: bytes = ASKED, caller: str = "CT1") -> dict[str, str]:
    """The answered steps, each with the AE title that stands in the answer."""
    datasets = [
        pydicom.dcmread(BytesIO(data), force=True)
        for data in worklist.answers(query, caller).datasets
    ]
    steps = [dataset.ScheduledProcedureStepSequence[0] for dataset in datasets]
    return {s.ScheduledProcedureStepID: s.ScheduledStationAETitle for s in steps}


ROOMS = request(
    "7",
    step("1"),
    step("2", scheduled_station_ae_title="MR1", modality="MR"),
    step("3", scheduled_station_ae_title=""),
    step("4", scheduled_station_ae_title="CTROOM"),
    step("5", modality=""),
)


@pytest.mark.parametrize(
    ("rules", "text", "caller", "expected"),
    [
        (StationRules(), "", "CT1", {"1": "CT1", "2": "MR1", "3": "CT1", "4": "CTROOM"}),
        (StationRules(), "", " CT1 ", {"1": "CT1", "2": "MR1", "3": "CT1", "4": "CTROOM"}),
        (StationRules(), "CT1", "CT1", {"1": "CT1", "3": "CT1"}),
        (StationRules(), "MR1", "CT1", {"2": "MR1", "3": "MR1"}),
        (StationRules(own_steps_only=True), "", "MR1", {"2": "MR1", "3": "MR1"}),
        (
            StationRules({"CT1": Station(("CT1", "CTROOM"))}),
            "CT1",
            "CT1",
            {"1": "CT1", "3": "CT1", "4": "CT1"},
        ),
        (
            StationRules({"CT1": Station(("CTROOM",))}, own_steps_only=True),
            "",
            "CT1",
            {"1": "CT1", "3": "CT1", "4": "CTROOM"},
        ),
        (
            StationRules({"CT1": Station(("CTROOM",))}, own_steps_only=True),
            "",
            "ct1 ",
            {"1": "CT1", "3": "ct1", "4": "CTROOM"},
        ),
        (
            StationRules({" ct1": Station(("CTROOM",))}, own_steps_only=True),
            "",
            "CT1",
            {"1": "CT1", "3": "CT1", "4": "CTROOM"},
        ),
        (
            StationRules({"ct1": Station(("MR1",)), "CT1": Station()}, own_steps_only=True),
            "",
            "CT1",
            {"1": "CT1", "3": "CT1"},
        ),
        (StationRules({"CT1": Station(days_back=0, days_ahead=0)}), "MR1", "MR1", {"2": "MR1"}),
    ],
)
def test_a_station_gets_its_steps_under_the_title_it_knows(
    rules: StationRules, text: str, caller: str, expected: dict[str, str]
) -> None:
    query = identifier({}, {"ScheduledStationAETitle": text, "ScheduledProcedureStepID": ""})
    found = answered(served(ROOMS, rules=rules), query, caller)
    if rules.stations.get("CT1", Station()).days_back is not None:
        expected = expected | {"3": "MR1"}  # its rules are CT1's, not the caller's
    assert found == expected


def test_what_a_station_would_get_is_what_it_gets() -> None:
    worklist = served(ROOMS, rules=StationRules(own_steps_only=True))
    seen = [item["ScheduledProcedureStepID"] for item in worklist.seen_by("CT1")]
    assert seen == list(answered(worklist)) == ["1", "3"]
    query = parse_query(identifier({}, {"Modality": "MR"}))
    assert worklist.seen_by("CT1", query) == []
    assert {rule.name for rule in worklist.rules("CT1", query)} == {
        "ScheduledStationAETitle",
        "Modality",
    }


@pytest.mark.parametrize(
    ("age", "stale", "why"),
    [
        (0, False, "just read"),
        (100, False, "as old as may be"),
        (100.5, True, "older"),
        (-50, False, "the clock was set back"),
        (10**6, True, "days later"),
    ],
)
def test_a_list_that_is_too_old_is_not_served(age: float, stale: bool, why: str) -> None:
    clock = FrozenClock(NOON)
    worklist = served(ROOMS, clock=clock)
    clock.now += age
    assert worklist.stale is stale
    assert worklist.age() == max(0, age)
    if stale:
        with pytest.raises(WorklistUnavailable, match="MaxStaleness"):
            worklist.answers(ASKED, "CT1")
        with pytest.raises(WorklistUnavailable):
            worklist.seen_by("CT1")
        assert worklist.snapshot is not None
    else:
        assert worklist.answers(ASKED, "CT1").datasets


def test_before_the_first_list_there_is_no_answer_not_even_an_empty_one() -> None:
    worklist = Worklist(StationRules(), max_staleness=100, clock=FrozenClock(NOON))
    assert (worklist.snapshot, worklist.age(), worklist.stale) == (None, None, True)
    with pytest.raises(WorklistUnavailable):
        worklist.answers(ASKED, "CT1")


def test_a_list_without_steps_is_an_empty_answer() -> None:
    assert served().answers(ASKED, "CT1").datasets == []


@pytest.mark.parametrize(
    ("codec", "charset", "name"),
    [
        ("utf-8", "", "Nguyễn^Ánh"),
        ("iso8859-1", "", "Nguyen^Ánh"),
        ("utf-8", "ascii", "Nguyen^Anh"),
        ("utf-8", "latin1", "Nguyen^Ánh"),
        ("utf-8", "utf8", "Nguyễn^Ánh"),
        ("iso8859-5", "latin1", "Nguyen^Anh"),  # what both hold
        ("iso8859-1", "utf8", "Nguyen^Ánh"),
        ("gb18030", "gb18030", "Nguyễn^Ánh"),
        ("utf-8", "shift_jis", "Nguyen^Anh"),
    ],
)
def test_a_station_gets_the_letters_that_it_can_show(codec: str, charset: str, name: str) -> None:
    rules = StationRules({"CT1": Station(charset=charset)}, codec=codec)
    worklist = served(request("7", patient_name="Ánh Nguyễn"), rules=rules)
    (data,) = worklist.answers(ASKED, "CT1").datasets
    assert str(pydicom.dcmread(BytesIO(data), force=True).PatientName) == name


def test_a_query_that_is_asked_again_sees_the_next_list_and_the_next_day() -> None:
    clock = FrozenClock(NOON)
    rules = StationRules({"CT1": Station(days_back=0, days_ahead=0)})
    worklist = served(ROOMS, rules=rules, clock=clock)
    assert len(answered(worklist)) == 4
    one = RequestList((request("8", step("81"), step("82", start_date="20250704")),))
    worklist.replace(Snapshot.build(one, read_at=NOON, day=worklist.today()))
    assert set(answered(worklist)) == {"81"}
    clock.now += 86400
    worklist.replace(Snapshot.build(one, read_at=clock.now, day=worklist.today()))
    assert set(answered(worklist)) == {"82"}


def test_steps_that_the_standard_would_add_and_orthanc_would_drop_are_counted() -> None:
    worklist = served(
        request("7", *(step(str(hour), start_time=f"{hour:02}0000") for hour in (7, 9, 13)))
    )
    dates = {"ScheduledProcedureStepStartDate": "20250702-20250704"}
    for times, answered, beyond in (("080000-120000", 1, 2), ("080000", 0, 0), ("", 3, 0)):
        query = identifier({}, {**dates, "ScheduledProcedureStepStartTime": times})
        found = worklist.answers(query, "CT1")
        assert (len(found.datasets), found.beyond) == (answered, beyond), times


@pytest.mark.filterwarnings("ignore:The value length .* exceeds the maximum length:UserWarning")
def test_a_large_query_is_answered_too() -> None:
    large = identifier({"PatientID": "", "4320,1234": "x" * 40_000}, {"Modality": "CT"})
    assert len(served(ROOMS).answers(large, "CT1").datasets) == 3


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of a place with summer time."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize(
    ("moment", "today", "offered"),
    [
        (datetime(2025, 7, 3, 0, 0), "20250703", "20250704"),
        (datetime(2025, 7, 3, 23, 59, 59), "20250703", "20250704"),
        (datetime(2025, 3, 29, 23, 30), "20250329", "20250330"),
        (datetime(2025, 10, 26, 0, 30), "20251026", "20251027"),
        (datetime(2025, 12, 31, 12, 0), "20251231", "20260101"),
        (datetime(2024, 2, 28, 12, 0), "20240228", "20240229"),
    ],
)
def test_today_is_the_day_where_orthanc_runs_summer_time_or_not(
    moment: datetime, today: str, offered: str
) -> None:
    rules = StationRules({"CT1": Station(days_back=-1, days_ahead=1)})
    worklist = Worklist(rules, max_staleness=1, clock=FrozenClock(moment.timestamp()))
    assert worklist.today() == today
    window = worklist.rules("CT1", parse_query(identifier({}, {})))[1]
    assert window.asks == f"{offered}-{offered}"


def test_the_next_query_of_a_scanner_is_known_though_orthanc_names_it_anew() -> None:
    def file(instance: str) -> bytes:
        dataset = Dataset()
        dataset.PatientName = "A*"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.31")
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()

    first, second = _Identifier(file("1.2.3")), _Identifier(file("1.2.3.44444"))
    assert first == second
    assert hash(first) == hash(second)
    other = file("1.2.3").replace(b"A*", b"B*")
    assert _Identifier(other) != first
    implicit = file("1.2.3").replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0")
    assert _Identifier(implicit) != first


def test_another_list_has_another_revision_and_the_same_list_read_again_hasnt() -> None:
    clock = FrozenClock(NOON)
    assert Worklist(StationRules(), max_staleness=100, clock=clock).revision == ""
    worklist = served(ROOMS, clock=clock)
    first, snapshot = worklist.revision, worklist.snapshot
    assert first
    assert snapshot is not None
    clock.now += 10
    worklist.replace(snapshot.at(read_at=clock.now, day=worklist.today(), names=snapshot.names))
    assert worklist.revision == first
    found = RequestList((ROOMS, request("8", step("80"))))
    revisions = {first}
    for _ in range(3):  # within one instant
        worklist.replace(Snapshot.build(found, read_at=clock.now, day=worklist.today()))
        revisions.add(worklist.revision)
    assert len(revisions) == 4
