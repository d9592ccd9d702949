"""What a newer list says about what was decided before: looked at again, compared afterwards."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import NotificationState, StepStatus, StudySummary
from orthanc_openmrs.worklist.items import study_instance_uid
from tests.unit.builders import ALICE, BOB, request, series, step, study
from tests.unit.completion.site import (
    DELIVERED,
    DISCARDED,
    EIGHT,
    HELD,
    NINE,
    PENDING,
    SEVEN,
    Site,
    images,
)

TEN = request("10", step("41"), accession_number="TEN", patient_id=BOB)


def deliver(site: Site) -> None:
    """Everything that is due is linked and told."""
    site.link()
    seen = site.openmrs.monotonic()
    for one in site.database.due_notifications():
        assert site.database.begin(one, 1)
        site.sender.deliver(one, site.openmrs.read_after(seen, 1))


def later_list(site: Site) -> list[str]:
    """A list is read some time later; the studies that are to be decided anew."""
    site.clock.now += 10
    site.openmrs.read()
    return [due.study for due in site.database.due_studies()]


# --- looked at again -----------------------------------------------------------------------

UNDECIDED: list[tuple[str, StudySummary]] = [
    ("its UID", study(study="s", study_instance_uid=study_instance_uid(TEN), patient_id="x")),
    ("its accession number", study(study="s", accession_number="TEN", patient_id=BOB)),
    ("an emergency's, of nobody known", study(study="s", accession_number="TEN", patient_id="x")),
    ("its step", images(TEN, study="s", study_instance_uid="9.9", series=(
        series(performed_procedure_step_id="41"),))),
]  # fmt: skip


@pytest.mark.parametrize("noted", [row[1] for row in UNDECIDED], ids=[row[0] for row in UNDECIDED])
def test_an_order_that_comes_after_the_images_is_found(site: Site, noted: StudySummary) -> None:
    site.note(noted)
    deliver(site)
    assert site.database.outcome_counts().get("linked") is None
    assert later_list(site) == []
    site.openmrs.requests.append(TEN)
    assert later_list(site) == ["s"]
    deliver(site)
    step = site.states().get("41")
    assert (step is DELIVERED) or (noted.patient_id == "x" and site.states() == {"": HELD})
    assert later_list(site) == [], "it costs nothing any more"


def test_a_list_that_was_empty_for_a_moment_loses_nothing(site: Site) -> None:
    listed = site.openmrs.requests
    site.openmrs.requests = []
    site.openmrs.read()
    site.note(images(EIGHT), images(SEVEN, "CT", "MR"))
    deliver(site)
    assert site.states() == {}
    site.openmrs.requests = listed
    assert sorted(later_list(site)) == ["s7", "s8"]
    deliver(site)
    assert site.states() == {"14": DELIVERED, "15": DELIVERED, "21": DELIVERED}


def test_a_held_study_is_linked_when_openmrs_is_corrected(site: Site) -> None:
    site.note(images(EIGHT, patient_id=ALICE, accession_number="ACC-8"))
    deliver(site)
    assert site.states() == {"": HELD}
    site.openmrs.requests[1] = replace(EIGHT, patient_id=ALICE)
    assert later_list(site) == ["s8"]
    deliver(site)
    assert site.states() == {"": DISCARDED, "21": DELIVERED}


def test_a_step_that_was_closed_when_its_images_came_and_is_opened_then_is_told(
    site: Site,
) -> None:
    site.openmrs.set_status("21", StepStatus.REJECTED)
    site.openmrs.read()
    site.note(images(EIGHT))
    deliver(site)
    assert site.database.outcome_counts() == {"settled": 1}
    site.openmrs.set_status("21", StepStatus.SCHEDULED)
    assert later_list(site) == ["s8"]
    deliver(site)
    assert site.states() == {"21": DELIVERED}


def test_only_what_changed_is_looked_at(site: Site) -> None:
    site.openmrs.read()
    site.note(*(study(study=f"s{at}", accession_number=f"X{at}") for at in range(50)))
    deliver(site)
    assert site.database.outcome_counts() == {"held": 50}
    site.openmrs.requests.append(request("11", step("51"), accession_number="X7"))
    changed = later_list(site)
    assert "s7" in changed
    assert set(changed) <= {f"s{at}" for at in range(50)}
    assert later_list(site) == [] or len(changed) == 50, "they share the patient"


def test_a_broken_database_only_delays_it(site: Site) -> None:
    site.note(study(study="s", accession_number="TEN", patient_id="x"))
    deliver(site)
    site.openmrs.requests.append(TEN)
    with pytest.MonkeyPatch.context() as broken:

        def fails(named: object) -> list[str]:
            raise StoreError("disk full")

        broken.setattr(site.database, "look_again", fails)
        with pytest.raises(StoreError):
            site.openmrs.read()
    assert later_list(site) == ["s"]


def test_what_was_compared_before_a_restart_isnt_compared_again(site: Site) -> None:
    site.note(study(study="s", accession_number="X"))
    deliver(site)
    kept = site.openmrs.read()
    site.build()
    site.review.begin(kept)
    assert later_list(site) == []
    site.build()
    site.review.begin(None)
    assert later_list(site) == ["s"], "nothing was kept"


# --- compared afterwards -------------------------------------------------------------------


def set_back(site: Site) -> None:
    site.openmrs.set_status("21", StepStatus.SCHEDULED)


def told(site: Site) -> None:
    """A study was told."""
    site.note(images(EIGHT))
    deliver(site)
    assert site.states() == {"21": DELIVERED}


@pytest.mark.parametrize("seen_closed", [True, False])
def test_a_step_that_was_told_and_is_open_again_is_shown(site: Site, seen_closed: bool) -> None:
    told(site)
    if seen_closed:
        later_list(site)
    set_back(site)
    later_list(site)
    (one,) = site.all()
    assert (one.state, one.reason) == (
        HELD,
        "told on 1970-01-01 00:16 UTC, but open in OpenMRS again",
    )
    assert later_list(site) == []
    assert len(site.openmrs.posts) == 1, "nothing is told without a person"


@pytest.mark.parametrize(
    ("decide", "state", "posts"), [("retry", DELIVERED, 2), ("discard", DISCARDED, 1)]
)
def test_a_person_has_it_told_again_or_lets_it_be(
    site: Site, decide: str, state: NotificationState, posts: int
) -> None:
    told(site)
    set_back(site)
    later_list(site)
    getattr(site.decisions, decide)(site.all()[0].id, "ana")
    deliver(site)
    assert site.states() == {"21": state}
    assert len(site.openmrs.posts) == posts
    later_list(site)
    site.note(images(EIGHT))
    deliver(site)
    later_list(site)
    assert site.states() == {"21": state}, "the same images tell nothing more"


def by_a_new_study(site: Site) -> None:
    site.note(images(EIGHT, study="s8 again", study_instance_uid="9.8", accession_number="ACC-8"))


def in_a_new_life(site: Site) -> None:
    site.database.study_deleted("s8")
    site.note(images(EIGHT))


@pytest.mark.parametrize("exam", [by_a_new_study, in_a_new_life])
@pytest.mark.parametrize("list_between", [True, False])
def test_a_repeated_exam_is_told_again(
    site: Site, exam: Callable[[Site], None], list_between: bool
) -> None:
    told(site)
    later_list(site)
    set_back(site)
    if list_between:
        later_list(site)
    exam(site)
    site.clock.now += 10
    site.openmrs.read()
    deliver(site)
    later_list(site)
    assert len(site.openmrs.posts) == 2
    assert site.all()[-1].state is DELIVERED
    assert all(one.state in (DELIVERED, DISCARDED) for one in site.all())
    assert site.openmrs.requests[1].steps[0].status is StepStatus.COMPLETED


def test_a_step_that_is_open_again_after_its_study_has_gone_is_no_business_of_a_person(
    site: Site,
) -> None:
    told(site)
    later_list(site)
    site.database.study_deleted("s8")
    set_back(site)
    later_list(site)
    assert site.states() == {"21": DELIVERED}


def test_an_order_of_the_same_number_isnt_that_which_was_told(site: Site) -> None:
    told(site)
    later_list(site)
    site.openmrs.requests[1] = replace(EIGHT, patient_id=ALICE, accession_number="new")
    later_list(site)
    assert site.states() == {"21": DELIVERED}


def test_a_list_that_is_older_than_the_telling_says_nothing(site: Site) -> None:
    site.note(images(EIGHT))
    site.link()
    (one,) = site.database.due_notifications()
    old = site.openmrs.read()
    assert site.database.begin(one, 1)
    site.clock.now += 5
    site.sender.deliver(one, old)
    site.review.compare(replace(old, began=site.openmrs.monotonic()))
    assert site.states() == {"21": DELIVERED}


def test_what_was_decided_for_a_study_that_has_gone_is_withdrawn(site: Site) -> None:
    site.note(images(EIGHT), images(NINE, patient_id=ALICE[:4]))
    site.link()
    assert site.states() == {"21": PENDING, "": HELD}
    for gone in ("s8", "s9"):
        site.database.study_deleted(gone)
    assert site.states() == {"21": DISCARDED, "": DISCARDED}
