"""The StudyInstanceUID that was given out for a request stays its own, whatever OpenMRS changes."""

from dataclasses import replace
from typing import Any

import pytest

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import GivenUid, ImagingRequest, Predecessor, RequestList, Source
from orthanc_openmrs.worklist.items import study_instance_uid
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uid_registry import UidRegistry
from orthanc_openmrs.worklist.uids import GivenUids
from tests.unit.builders import ALICE, BOB, TODAY, request, step

SEVEN = request("7", step("14"), step("15"), accession_number="")
MADE = study_instance_uid(SEVEN)


class Store:
    """The kept UIDs."""

    def __init__(self) -> None:
        self.given: list[GivenUid] = []
        self.broken = False

    def load_given_uids(self) -> list[GivenUid]:
        if self.broken:
            raise StoreError("disk full")
        return list(self.given)

    def save_given_uids(self, given: Any) -> None:
        if self.broken:
            raise StoreError("disk full")
        self.given += given


class Publishing:
    """Lists that are made for scanners, one after the other."""

    def __init__(self) -> None:
        self.store = Store()
        self.restart()

    def restart(self) -> None:
        """Only what is kept is known."""
        self.registry = UidRegistry(self.store)
        self.before: Snapshot | None = None

    def publish(self, *requests: ImagingRequest) -> list[str]:
        """The UIDs of the requests, as scanners get them."""
        self.before = Snapshot.build(
            RequestList(requests),
            read_at=1,
            day=TODAY,
            given=self.registry.load(),
            previous=self.before,
        )
        self.registry.give(self.before.offered)
        items = self.before.items
        return [
            next(item["StudyInstanceUID"] for item in items if item.request == one)
            for one in requests
        ]


CHANGES: list[tuple[str, ImagingRequest, bool]] = [
    # what OpenMRS changed, the request then, whether the UID stays
    ("nothing", SEVEN, True),
    ("the clerk typed the number", replace(SEVEN, accession_number="typed"), True),
    ("the patient was merged", replace(SEVEN, accession_number="kept", patient_id=BOB), True),
    ("another step", replace(SEVEN, steps=(*SEVEN.steps, step("16"))), True),
    ("case of the patient's uuid", replace(SEVEN, patient_id=ALICE.upper()), True),
    ("installed again", replace(SEVEN, accession_number="new", patient_id=BOB), False),
    ("OpenMRS has a UID of its own", replace(SEVEN, study_instance_uid="1.2.840.7"), False),
    ("that is none", replace(SEVEN, study_instance_uid="typed by a user"), True),
]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("then", "stays"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_what_was_given_out_is_given_again(
    then: ImagingRequest, stays: bool, restart: bool
) -> None:
    publishing = Publishing()
    first = replace(SEVEN, accession_number="kept") if then.accession_number == "kept" else SEVEN
    (given,) = publishing.publish(first)
    if restart:
        publishing.restart()
    (again,) = publishing.publish(then)
    assert (again == given) is stays
    assert publishing.publish(then) == [again]


def test_a_request_that_had_openmrss_own_uid_keeps_it_when_openmrs_forgets_it() -> None:
    publishing = Publishing()
    own = replace(SEVEN, study_instance_uid="1.2.840.7")
    assert publishing.publish(SEVEN) == [MADE]
    assert publishing.publish(own) == ["1.2.840.7"]
    assert publishing.publish(SEVEN) == ["1.2.840.7"]
    given = publishing.registry.given()
    assert {one.study_instance_uid for one in given.to(SEVEN)} == {MADE, "1.2.840.7"}
    assert given.requests_of(MADE) == given.requests_of("1.2.840.7") == ("7",)


def test_a_uid_that_was_given_out_isnt_given_for_another_request() -> None:
    publishing = Publishing()
    publishing.publish(SEVEN)
    thief = request("8", step("21"), study_instance_uid=MADE)
    uids = publishing.publish(SEVEN, thief)
    assert uids == [MADE, study_instance_uid(thief)]
    (item,) = [item for item in publishing.before.items if item.request == thief]  # type: ignore[union-attr]
    assert any("StudyInstanceUID" in warning for warning in item.warnings)


def test_only_what_is_offered_was_given_out() -> None:
    publishing = Publishing()
    publishing.publish(request("9", step("x" * 17)))
    assert publishing.store.given == []


def test_a_broken_database_keeps_no_list_from_being_served_and_learns_it_later() -> None:
    publishing = Publishing()
    publishing.store.broken = True
    assert publishing.publish(SEVEN) == [MADE]
    typed = replace(SEVEN, accession_number="typed")
    assert publishing.publish(typed) == [MADE], "it is known while this process runs"
    publishing.store.broken = False
    publishing.publish(typed)
    publishing.restart()
    assert publishing.publish(typed) == [MADE]


def test_unchanged_requests_keep_their_items() -> None:
    publishing = Publishing()
    publishing.publish(SEVEN)
    first = publishing.before
    assert first is not None
    publishing.publish(SEVEN, request("8", step("21")))
    second = publishing.before
    assert second is not None
    assert set(map(id, first.items)) <= set(map(id, second.items))


def test_what_was_given_out_of_requests_with_one_number_is_told_apart() -> None:
    given = GivenUids.of(
        [
            GivenUid("1.1", "7", ALICE, "A"),
            GivenUid("1.2", "7", BOB, "B"),
            GivenUid("1.2", "7", BOB, "C"),
        ]
    )
    assert given.uid_of(replace(SEVEN, accession_number="A")) == "1.1"
    assert given.uid_of(replace(SEVEN, patient_id=BOB, accession_number="D")) == "1.2"
    assert given.uid_of(replace(SEVEN, patient_id="x", accession_number="D")) == ""
    assert given.uid_of(replace(SEVEN, patient_id="", accession_number="")) == ""


# --- orders that take each other's place ---------------------------------------------------


def order(number: str, uid: str, *before: str) -> ImagingRequest:
    return request(
        f"O{number}",
        step(f"O{number}"),
        accession_number=f"ORD-{number}",
        study_instance_uid=uid,
        source=Source.ORDERS,
        predecessors=tuple(Predecessor(f"O{one}", f"ORD-{one}") for one in before),
    )


def test_a_revised_order_keeps_the_uid_that_was_given_out_for_the_one_before_it() -> None:
    publishing = Publishing()
    assert publishing.publish(order("1", "2.25.1")) == ["2.25.1"]
    assert publishing.publish(order("2", "2.25.1", "1")) == ["2.25.1"]
    publishing.restart()
    assert publishing.publish(order("3", "2.25.1", "2", "1")) == ["2.25.1"]
    assert publishing.registry.given().requests_of("2.25.1") == ("O1", "O2", "O3")


def test_an_order_of_another_patient_doesnt_take_it() -> None:
    publishing = Publishing()
    publishing.publish(order("1", "2.25.1"))
    other = replace(order("9", "2.25.1"), patient_id=BOB)
    assert publishing.publish(other) != ["2.25.1"]
