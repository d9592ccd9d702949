"""Snapshots: unchanged items are taken over, undated ones move with the day."""

import pytest

from orthanc_openmrs.model import ImagingRequest, Rejected, RequestList
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import BOB, TODAY, request, step

TOMORROW = "20250704"
SEVEN = request("7", step("71"), step("72", modality="MR"))
EIGHT = request("8", step("81", start_date=""))


def snapshot(
    *requests: ImagingRequest, day: str = TODAY, previous: Snapshot | None = None
) -> Snapshot:
    """A snapshot of a list."""
    return Snapshot.build(RequestList(requests), read_at=1000, day=day, previous=previous)


@pytest.mark.parametrize(
    ("after", "day", "kept", "why"),
    [
        ((SEVEN, EIGHT), TODAY, {"71", "72", "81"}, "nothing changed"),
        ((EIGHT, SEVEN), TODAY, {"71", "72", "81"}, "another order"),
        ((SEVEN,), TODAY, {"71", "72"}, "a request is gone"),
        ((SEVEN, EIGHT, request("9", step("91"))), TODAY, {"71", "72", "81"}, "one is new"),
        ((SEVEN, request("8", step("81", start_date="x"))), TODAY, {"71", "72"}, "one changed"),
        ((SEVEN, EIGHT), TOMORROW, {"71", "72"}, "the day changed: undated items move"),
        (
            (SEVEN, EIGHT, request("9", step("91"), accession_number="ACC-7")),
            TODAY,
            {"81"},
            "another request claims the accession number",
        ),
        ((SEVEN, EIGHT, request("9", step("71"))), TODAY, {"81"}, "another claims a step id"),
    ],
)
def test_unchanged_items_are_the_same_objects_in_the_next_snapshot(
    after: tuple[ImagingRequest, ...], day: str, kept: set[str], why: str
) -> None:
    before = snapshot(SEVEN, EIGHT)
    then = snapshot(*after, day=day, previous=before)
    old = {id(item) for item in before.items}
    assert {
        item.step.scheduled_procedure_step_id for item in then.items if id(item) in old
    } == kept, why
    fresh = snapshot(*after, day=day)
    assert [(i.values, i.reason, i.warnings) for i in then.items] == [
        (i.values, i.reason, i.warnings) for i in fresh.items
    ]


def test_an_undated_item_is_of_the_day_that_it_is() -> None:
    key = "ScheduledProcedureStepStartDate"
    today = snapshot(SEVEN, EIGHT)
    tomorrow = today.at(read_at=2000, day=TOMORROW, names=today.names)
    dates = [[item[key] for item in now.offered] for now in (today, tomorrow)]
    assert dates == [[TODAY] * 3, [TODAY, TODAY, TOMORROW]]
    assert (tomorrow.day, tomorrow.read_at) == (TOMORROW, 2000)
    assert (today.day, today.read_at) == (TODAY, 1000)


def test_the_same_day_read_again_is_the_same_list_but_younger() -> None:
    before = snapshot(SEVEN)
    after = before.at(read_at=2000, day=TODAY, names=before.names)
    assert after.items is before.items
    assert (before.read_at, after.read_at) == (1000, 2000)


def test_a_name_that_becomes_known_changes_its_patients_items_only() -> None:
    bobs = request("9", step("91"), patient_id=BOB, patient_name="Bob Marsh Dyk")
    before = snapshot(SEVEN, bobs)
    names = PersonNames(structured={(BOB, "Bob Marsh Dyk"): "Marsh Dyk^Bob"})
    after = before.at(read_at=1000, day=TODAY, names=names)
    seen = [[now.step(number) for number in ("71", "91")] for now in (before, after)]
    assert [item["PatientName"] for pair in seen for item in pair if item] == [
        "Jones^Alice^Mary",
        "Dyk^Bob^Marsh",
        "Jones^Alice^Mary",
        "Marsh Dyk^Bob",
    ]
    assert seen[0][0] is seen[1][0]


def test_items_come_by_date_time_and_number() -> None:
    found = snapshot(
        request("1", step("10"), step("9"), step("2", start_time="080000")),
        request("2", step("3", start_date="20250702")),
    )
    assert [item["ScheduledProcedureStepID"] for item in found.items] == ["3", "2", "9", "10"]


def test_a_step_is_found_by_its_id_offered_or_not() -> None:
    found = snapshot(request("7", step("71"), step("72", modality="")))
    offered, skipped = found.step("71"), found.step("72")
    assert offered is not None
    assert offered.offered
    assert skipped is not None
    assert not skipped.offered
    assert found.offered == (offered,)
    assert found.step("73") is None


def test_what_could_not_be_read_is_kept_with_its_reason() -> None:
    bad = (Rejected(3, "is null, not an object"),)
    built = Snapshot.build(RequestList((SEVEN,), bad, "v3"), read_at=1, day=TODAY)
    later = [built.at(read_at=2, day=day, names=built.names) for day in (TODAY, TOMORROW)]
    for found in (built, *later):
        assert (found.rejected, found.generation) == (bad, "v3")
