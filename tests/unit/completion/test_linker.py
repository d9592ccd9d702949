"""When a study is linked, by which list, and what is kept of it."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from orthanc_openmrs.completion.linking import Outcome
from orthanc_openmrs.completion.retries import LONGEST_PAUSE
from orthanc_openmrs.errors import PROBLEMS
from orthanc_openmrs.model import DueStudy, NotificationState, StepStatus, StudySummary
from tests.unit.builders import ALICE, BOB, request, step, study
from tests.unit.completion.site import (
    DELIVERED,
    DISCARDED,
    EIGHT,
    HELD,
    PENDING,
    SEVEN,
    Site,
    images,
)
from tests.unit.doubles import PATIENCE, ImagingModule, WatchedDatabase

# --- the decision --------------------------------------------------------------------------

WRONG = images(EIGHT, patient_id=ALICE)
FOREIGN = study(study="foreign", study_instance_uid="9.9.9.1", patient_id="4711")
UNKNOWN = study(study="unknown", accession_number="typed by hand")


@pytest.mark.parametrize(
    ("noted", "at_hand", "reads", "outcome", "states"),
    [
        (images(EIGHT), "good", 0, Outcome.LINKED, {"21": PENDING}),
        (images(SEVEN, "CT", "MR"), "good", 0, Outcome.LINKED, {"14": PENDING, "15": PENDING}),
        (images(EIGHT), "none", 1, Outcome.LINKED, {"21": PENDING}),
        (FOREIGN, "good", 1, Outcome.UNLINKED, {}),
        (FOREIGN, "none", 1, Outcome.UNLINKED, {}),
        (WRONG, "good", 1, Outcome.HELD, {"": HELD}),
        (UNKNOWN, "good", 1, Outcome.HELD, {"": HELD}),
        (
            replace(UNKNOWN, accession_number="ACC-8", patient_id=BOB),
            "old",
            1,
            Outcome.LINKED,
            {"21": PENDING},
        ),
        (replace(UNKNOWN, accession_number="ACC-9"), "old", 1, Outcome.LINKED, {"31": PENDING}),
        (images(SEVEN, "DX"), "good", 1, Outcome.HELD, {"": HELD}),
        (FOREIGN, "newer", 0, Outcome.UNLINKED, {}),
        (WRONG, "newer", 0, Outcome.HELD, {"": HELD}),
        (images(request("10", step("41", status=StepStatus.COMPLETED))), "good", 1, "settled", {}),
    ],
)
def test_the_list_at_hand_decides_and_a_fresh_one_where_it_cant(
    site: Site,
    noted: StudySummary,
    at_hand: str,
    reads: int,
    outcome: str,
    states: dict[str, NotificationState],
) -> None:
    site.openmrs.requests.append(request("10", step("41", status=StepStatus.COMPLETED)))
    site.at_hand = site.openmrs.snapshot()
    if at_hand == "none":
        site.at_hand = None
    elif at_hand == "newer":
        site.at_hand = replace(site.at_hand, read_at=site.clock.now + 1)
    elif at_hand == "old":
        site.at_hand = ImagingModule(SEVEN).snapshot()
    site.note(noted)
    if at_hand == "newer":
        (due,) = site.database.due_studies()
        assert site.linker.link_study(due, 0.0)
    else:
        site.link()
    assert site.openmrs.reads == reads
    assert site.database.outcome_counts() == {str(outcome): 1}
    assert site.states() == states
    assert site.database.due_studies() == []
    assert all(bool(told.reason) is (told.state is HELD) for told in site.all())
    site.database.close()


def test_a_study_that_was_deleted_is_forgotten(site: Site) -> None:
    with site.running():
        site.database.note_study("deleted")
        site.wake()
        site.until_decided(gone=1)
    assert site.all() == []


def test_a_decision_waits_while_openmrs_is_away_and_then_links(site: Site) -> None:
    site.at_hand, site.openmrs.away = None, True
    with site.running():
        site.note(images(EIGHT))
        for attempt in range(1, 4):
            site.database.until(lambda: site.database.due_studies() == [])
            assert site.openmrs.reads == attempt
            assert site.all() == []
            site.wait()
            site.until_read(attempt + 1)
        site.openmrs.away = False
        site.wait()
        site.until_states({"21": DELIVERED})


def test_studies_that_wait_for_openmrs_hold_up_no_other(site: Site) -> None:
    site.openmrs.away = True
    waiting = [replace(FOREIGN, study=f"foreign {at}") for at in range(20)]
    site.note(*waiting, images(EIGHT))
    site.link()
    assert site.states() == {"21": PENDING}
    assert site.openmrs.reads == 1, "OpenMRS isn't asked for each of them"
    assert site.database.waiting_count() == 20
    assert {one.reason for one in site.database.waiting_studies()} == {
        f"waiting for OpenMRS's list: {PROBLEMS['unreachable']} (connection failed)"
    }
    site.openmrs.away = False
    site.clock.now += LONGEST_PAUSE
    site.link()
    assert site.database.waiting_count() == 0
    assert site.database.outcome_counts() == {"linked": 1, "unlinked": 20}


@pytest.mark.parametrize("uid", ["1.2\0", "9" * 300])
def test_a_study_that_cant_be_kept_waits_with_the_reason_and_holds_up_no_other(
    site: Site, uid: str
) -> None:
    ordered = replace(UNKNOWN, accession_number="ACC-8", patient_id=BOB)
    odd = replace(ordered, study="odd", study_instance_uid=uid)
    with site.running():
        site.note(odd)
        site.note(images(SEVEN, "CT", "MR"))
        site.until_states({"14": DELIVERED, "15": DELIVERED})
        site.database.until(lambda: site.database.waiting_count() == 1, "it doesn't wait")
    (waiting,) = site.database.waiting_studies()
    assert waiting.study == "odd"
    assert "can't be kept" in waiting.reason
    assert uid not in waiting.reason


def test_a_held_study_is_linked_when_a_person_asks_after_openmrs_was_corrected(site: Site) -> None:
    with site.running():
        site.note(replace(WRONG, accession_number="ACC-8"))
        site.until_states({"": HELD})
        site.openmrs.requests[1] = replace(EIGHT, patient_id=ALICE)
        site.database.retry(site.all()[0], "alice")
        site.wake()
        site.until_states({"": DISCARDED, "21": DELIVERED})


def test_the_same_study_again_tells_nothing_twice(site: Site) -> None:
    with site.running():
        site.note(images(EIGHT))
        site.until_states({"21": DELIVERED})
        site.at_hand = site.openmrs.snapshot()
        site.note(images(EIGHT))
        site.until_decided(settled=1)
    assert len(site.openmrs.posts) == 1
    assert site.states() == {"21": DELIVERED}


# --- several Orthancs ----------------------------------------------------------------------


class Overtaken(WatchedDatabase):
    """What this Orthanc reads as due is decided by another one before it has a claim to it."""

    other: Site | None = None

    def due_studies(self, limit: int = 100) -> list[DueStudy]:
        found = super().due_studies(limit)
        if found and self.other:
            self.other.link()
        return found


def test_what_another_orthanc_decided_meanwhile_isnt_looked_at_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other, site = Site(tmp_path), Site(tmp_path)
    site.database = database = Overtaken(f"sqlite:///{tmp_path / 'openmrs.db'}", clock=site.clock)
    database.other = other
    site.odd["s8"] = AssertionError("read a second time")
    site.build()
    other.studies["s8"] = images(EIGHT)
    database.note_study("s8")
    site.linker.start()
    database.until(lambda: site.states() == {"21": PENDING}, "the other one decides nothing")
    site.linker.tell_to_stop()
    site.linker.join(time.monotonic() + PATIENCE)
    assert "read a second time" not in caplog.text
    other.database.close()
    database.close()
