"""Completed steps reach OpenMRS, each once, and what can't be told for sure waits for a person."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from requests import HTTPError

from orthanc_openmrs.errors import PROBLEMS
from standin import Account, Fault, LoggedRequest, Standin, StepFields
from standin.server import DEFAULT_ACCOUNTS
from tests.server.conftest import Start
from tests.server.test_loop import offered
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

UPDATE = "/updaterequeststatus"
STEP_STATUS = "/updateprocedurestepstatus"

GENERATIONS = ("v1", "v2", "v3")
"""Those whose addresses are the same: the plugin isn't told which it speaks to."""


@pytest.fixture
def start_orthanc(start_orthanc: Start) -> Iterator[Start]:
    """As everywhere, but killed after the test: stopping takes seconds, and has its own tests."""
    started: list[ScratchOrthanc] = []

    def start(*arguments: Any, **keys: Any) -> ScratchOrthanc:
        started.append(start_orthanc(*arguments, **keys))
        return started[-1]

    yield start
    for orthanc in started:
        orthanc.kill()


def add_patients(openmrs: Standin, count: int) -> None:
    """Patients with a CT step each: patient, request and step n have the same number."""
    for number in range(1, count + 1):
        patient = openmrs.records.add_patient(f"Given{number}", f"Family{number}")
        openmrs.records.add_request(patient, steps=[StepFields()])


def answers(orthanc: ScratchOrthanc, count: int | None = None) -> dict[int, Dataset]:
    """What the scanner gets, by step, once the worklist offers `count` steps."""
    if count is not None:
        offered(orthanc, count)
    return {
        int(answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID): answer
        for answer in scanner.find(orthanc.dicom_port).answers
    }


def posts(openmrs: Standin, route: str = UPDATE) -> list[LoggedRequest]:
    """The POSTs that came to one route."""
    log = openmrs.requests_log
    return [one for one in log if one.method == "POST" and one.path.endswith(route)]


def steps_told(openmrs: Standin) -> list[int]:
    """The step of each status POST, in order."""
    return [int(parse_qs(one.query)["performedProcedureStepID"][0]) for one in posts(openmrs)]


def becomes(openmrs: Standin, step: int, status: str, seconds: float = 20) -> None:
    """Wait until OpenMRS has a step in a status."""
    eventually(
        lambda: openmrs.records.statuses()[step] == status,
        f"step {step} is not {status}",
        seconds,
    )


def completed(openmrs: Standin, step: int, seconds: float = 20) -> None:
    """Wait until OpenMRS has a step as completed."""
    becomes(openmrs, step, "completed", seconds)


def counted(orthanc: ScratchOrthanc, seconds: float = 20, **expected: int) -> None:
    """Wait until so many notifications are in each state, and none in another."""
    states = dict.fromkeys(("Pending", "Delivered", "Held", "Failed", "Discarded"), 0) | expected
    eventually(
        lambda: states.items() <= orthanc.get("/openmrs/status")["Notifications"].items(),
        f"the notifications are not {expected}",
        seconds,
    )


def notifications(orthanc: ScratchOrthanc) -> dict[str, dict[str, Any]]:
    """All of them, by study."""
    return {one["StudyInstanceUID"]: one for one in orthanc.get("/openmrs/notifications")}


def stable(orthanc: ScratchOrthanc, answer: Dataset, times: int) -> None:
    """Wait until Orthanc has said so often that the study of an answer is stable."""
    study = orthanc_id(orthanc, answer)
    eventually(
        lambda: (
            [
                change["ID"]
                for change in orthanc.get("/changes?limit=1000")["Changes"]
                if change["ChangeType"] == "StableStudy"
            ].count(study)
            == times
        ),
        f"the study is not stable {times} times",
    )


def orthanc_id(orthanc: ScratchOrthanc, answer: Dataset) -> str:
    """The study of a worklist answer, in Orthanc."""
    found: str = ask(orthanc, "POST", "/tools/lookup", answer.StudyInstanceUID)[0]["ID"]
    return found


def ask(orthanc: ScratchOrthanc, method: str, path: str, body: str | None = None) -> Any:
    """One request to Orthanc that isn't a GET; its JSON, if it has any."""
    response = orthanc.session.request(method, f"{orthanc.url}{path}", data=body, timeout=30)
    response.raise_for_status()
    return response.json() if response.content else None


def report(orthanc: ScratchOrthanc, study: str, step: int) -> dict[str, Any]:
    """A person says that a study completes a step."""
    body = json.dumps({"ScheduledProcedureStepID": str(step)})
    told: dict[str, Any] = ask(orthanc, "POST", f"/openmrs/studies/{study}/report", body)
    return told


def send(
    orthanc: ScratchOrthanc,
    folder: Path,
    answer: Dataset,
    changes: Mapping[str, str] | None = None,
    *,
    request_attributes: bool = True,
) -> None:
    """One image of a worklist answer, from the scanner to Orthanc."""
    image = scanner.acquire(answer, folder, changes=changes, request_attributes=request_attributes)
    scanner.store(orthanc.dicom_port, [image])


def test_study_of_several_steps_completes_each_with_one_post_and_later_images_repeat_nothing(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    modalities = ("CT", "MR", "CT")
    orthanc = start_orthanc()
    delivered = 0
    for generation in GENERATIONS:
        openmrs.generation = generation
        patient = openmrs.records.add_patient("Thị Ánh", "Nguyễn")
        request = openmrs.records.add_request(
            patient, steps=[StepFields(modality=modality) for modality in modalities]
        )
        add_patients(openmrs, 1)
        ct, mr, left = (step.id for step in request.steps)
        other = left + 1
        ask(orthanc, "POST", "/openmrs/worklist/refresh")
        found = answers(orthanc)
        before = len(posts(openmrs))
        series = {step: generate_uid() for step in (ct, mr)}
        images = [scanner.acquire(found[step], tmp_path, series=series[step]) for step in series]
        scanner.store(orthanc.dicom_port, images)
        counted(orthanc, Delivered=delivered + 2)
        assert [openmrs.records.statuses()[step] for step in (ct, mr, left, other)] == [
            "completed",
            "completed",
            "scheduled",
            "scheduled",
        ]
        told = dict(zip(steps_told(openmrs)[before:], posts(openmrs)[before:], strict=True))
        assert sorted(told) == [ct, mr]
        for step, post in told.items():
            entries = json.loads(post.body)["seriesList"]
            assert entries[0]["scheduledProcedureStepID"] == str(step)
            assert entries[0]["seriesInfo"]["seriesInstanceUID"] == series[step]
            assert [entry["scheduledProcedureStepID"] for entry in entries] == [str(step)]

        later = [scanner.acquire(found[step], tmp_path, series=series[step]) for step in series]
        later.append(scanner.acquire(found[ct], tmp_path))  # in a series that is new, too
        scanner.store(orthanc.dicom_port, later)
        stable(orthanc, found[ct], times=2)
        send(orthanc, tmp_path, found[other])
        delivered += 3
        counted(orthanc, Delivered=delivered)
        assert sorted(steps_told(openmrs)[before:]) == [ct, mr, other], generation
        assert openmrs.records.statuses()[left] == "scheduled"


def test_step_that_is_rejected_or_completed_is_left_alone(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 3)
    orthanc = start_orthanc()
    found = answers(orthanc, 3)
    openmrs.records.set_step_status(1, "rejected")
    openmrs.records.set_step_status(2, " Completed ")
    ask(orthanc, "POST", "/openmrs/worklist/refresh")
    scanner.store(orthanc.dicom_port, [scanner.acquire(found[step], tmp_path) for step in (1, 2)])
    for step in (1, 2):
        stable(orthanc, found[step], times=1)
    send(orthanc, tmp_path, found[3])

    counted(orthanc, Delivered=1)
    assert steps_told(openmrs) == [3]
    assert openmrs.records.statuses() == {1: "rejected", 2: " Completed ", 3: "completed"}


def test_study_of_a_foreign_patient_is_held_until_a_person_decides(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 4)
    orthanc = start_orthanc(AuthenticationEnabled=True, RegisteredUsers={"ana": "secret"})
    orthanc.session.auth = ("ana", "secret")
    found = answers(orthanc, 4)
    foreign = {"PatientID": "of another hospital"}
    for step in (1, 2, 3):
        send(orthanc, tmp_path, found[step], foreign)
    counted(orthanc, Held=3)
    assert not posts(openmrs)
    held = {step: notifications(orthanc)[found[step].StudyInstanceUID] for step in (1, 2, 3)}
    assert held[1]["Reason"] == (
        "PatientID of the images is not that of request 1, to which StudyInstanceUID points"
    )

    told = {
        1: report(orthanc, orthanc_id(orthanc, found[1]), 1),
        2: report(orthanc, found[2].StudyInstanceUID, 2),
        3: ask(orthanc, "DELETE", f"/openmrs/notifications/{held[3]['ID']}"),
    }
    for step in (1, 2):
        completed(openmrs, step)
    eventually(
        lambda: orthanc.get("/openmrs/status")["Notifications"]["Delivered"] == 2,
        "what the person reported is not delivered",
    )
    for step, action in ((1, "report"), (2, "report"), (3, "discard")):
        one = orthanc.get(f"/openmrs/notifications/{told[step]['ID']}")
        assert one["State"] == {"report": "delivered", "discard": "discarded"}[action]
        (decision,) = one["Decisions"]
        assert (decision["User"], decision["Action"]) == ("ana", action)
        assert decision["At"]

    # Later images don't ask the person again.
    send(orthanc, tmp_path, found[3], foreign)
    stable(orthanc, found[3], times=2)
    send(orthanc, tmp_path, found[4])
    counted(orthanc, Delivered=3, Discarded=3)
    assert sorted(steps_told(openmrs)) == [1, 2, 4]
    assert openmrs.records.statuses()[3] == "scheduled"


def test_what_openmrs_would_refuse_for_certain_is_held_with_its_reason(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    openmrs.generation = "v3"  # it reads PatientID from Orthanc, and takes the whole uuid only
    add_patients(openmrs, 2)
    orthanc = start_orthanc()
    found = answers(orthanc, 2)
    send(orthanc, tmp_path, found[1], {"PatientID": found[1].PatientID[:16]})
    send(orthanc, tmp_path, found[2])
    counted(orthanc, Held=1, Delivered=1)
    assert "whole uuid" in notifications(orthanc)[found[1].StudyInstanceUID]["Reason"]
    with pytest.raises(HTTPError) as refused:
        report(orthanc, orthanc_id(orthanc, found[1]), 1)
    assert refused.value.response.status_code == 409
    assert "whole uuid" in refused.value.response.json()["Message"]
    assert steps_told(openmrs) == [2]


REFUSALS = {
    "v2": (200, "No series data found in payload", "No series data found in payload"),
    "v3": (409, "No eligible procedure steps in notification", "HTTP 409: No eligible"),
}
"""What OpenMRS may say of a step that the list has as open, and how it is told."""


def test_refused_notification_fails_with_the_servers_reason_and_a_person_has_it_sent_again(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 2)
    orthanc = start_orthanc({"ReportInProgress": False})
    found = answers(orthanc, 2)
    for step, (generation, (status, text, words)) in enumerate(REFUSALS.items(), 1):
        openmrs.generation = generation
        openmrs.set_fault(Fault("says", status=status, text=text), path=UPDATE, times=1)
        send(orthanc, tmp_path, found[step])
        counted(orthanc, Delivered=step - 1, Failed=1)
        failed = notifications(orthanc)[found[step].StudyInstanceUID]
        assert failed["LastError"].startswith(words)
        ask(orthanc, "POST", f"/openmrs/notifications/{failed['ID']}/retry")
        counted(orthanc, Delivered=step)
        assert openmrs.records.statuses()[step] == "completed"
        decisions = orthanc.get(f"/openmrs/notifications/{failed['ID']}")["Decisions"]
        assert [decision["Action"] for decision in decisions] == ["retry"]
    assert steps_told(openmrs) == [1, 1, 2, 2]


def test_data_error_of_one_step_is_believed_after_a_while_and_holds_no_sister_up(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    steps = [StepFields(modality="CT"), StepFields(modality="MR")]
    openmrs.records.add_request(patient, steps=steps)
    orthanc = start_orthanc({"ReportInProgress": False})
    found = answers(orthanc, 2)
    cut = Fault("exception_cut", text="could not execute statement")
    openmrs.set_fault(cut, path=UPDATE, times=3)
    send(orthanc, tmp_path, found[1])
    counted(orthanc, Failed=1)
    (failed,) = orthanc.get("/openmrs/notifications")
    # The message stands at the end, which was cut off.
    assert failed["LastError"].startswith("OpenMRS failed: org.openmrs.")
    assert failed["Attempts"] == 3
    assert steps_told(openmrs) == [1, 1, 1]
    send(orthanc, tmp_path, found[2])
    counted(orthanc, Failed=1, Delivered=1)

    openmrs.records.change_request(1, accession="corrected since")
    openmrs.generation = "v3"  # which compares the accession number
    ask(orthanc, "POST", f"/openmrs/notifications/{failed['ID']}/retry")
    completed(openmrs, 1)


def test_what_openmrs_saved_before_it_failed_is_not_told_again(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 6)
    orthanc = start_orthanc()
    found = answers(orthanc, 6)
    for generation in GENERATIONS:
        openmrs.generation = generation
        # One each: the newer rule is used up first.
        openmrs.set_fault(Fault("error_after_save"), path=UPDATE, times=1)
        openmrs.set_fault(Fault("cut_after_save"), path=UPDATE, method="POST", times=1)
        told = len(posts(openmrs))
        images = [scanner.acquire(found[told + more], tmp_path) for more in (1, 2)]
        scanner.store(orthanc.dicom_port, images)
        counted(orthanc, Delivered=told + 2)
        assert sorted(one.status or 0 for one in posts(openmrs)[told:]) == [0, 500]
        assert sorted(steps_told(openmrs)) == list(range(1, told + 3)), generation


def test_slow_notification_holds_up_its_own_request_only(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    steps = [StepFields(modality="CT"), StepFields(modality="MR")]
    openmrs.records.add_request(patient, steps=steps)
    add_patients(openmrs, 9)
    orthanc = start_orthanc()
    found = answers(orthanc, 11)
    openmrs.set_fault(Fault("hang"), path=UPDATE, times=1)
    images = [scanner.acquire(found[step], tmp_path) for step in (1, 2)]
    scanner.store(orthanc.dicom_port, images)
    eventually(lambda: posts(openmrs), "nothing is told OpenMRS")

    scanner.store(
        orthanc.dicom_port, [scanner.acquire(found[step], tmp_path) for step in range(3, 12)]
    )
    counted(orthanc, Delivered=9, Pending=2)
    assert len(posts(openmrs)) == 10
    openmrs.clear_faults()
    counted(orthanc, Delivered=11)
    assert sorted(steps_told(openmrs)) == list(range(1, 12))


def test_step_is_in_progress_at_the_first_images_and_never_after_it_is_completed(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 5)
    orthanc = start_orthanc(StableAge=2)
    found = answers(orthanc, 5)
    for step, generation in ((1, "v2"), (2, "v3")):
        openmrs.generation = generation
        send(orthanc, tmp_path, found[step])
        becomes(openmrs, step, "in progress", seconds=2)
        assert len(posts(openmrs)) == step - 1
        completed(openmrs, step)

    send(orthanc, tmp_path, found[1])  # in another series
    stable(orthanc, found[1], times=2)
    send(orthanc, tmp_path, found[3])
    completed(openmrs, 3)
    assert openmrs.records.statuses()[1] == "completed"
    asked = [parse_qs(one.query) for one in posts(openmrs, STEP_STATUS)]
    assert asked == [{"stepId": [step], "status": ["in progress"]} for step in ("1", "2", "3")]

    # v1 has no such route, and isn't asked for it again and again.
    openmrs.generation = "v1"
    for step in (4, 5):
        send(orthanc, tmp_path, found[step])
        completed(openmrs, step)
    counted(orthanc, Delivered=5)
    assert [one.status for one in posts(openmrs, STEP_STATUS)] == [200, 200, 200, 404]


def test_request_that_the_list_does_not_have_yet_is_found_in_a_fresh_one(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 1)
    orthanc = start_orthanc({"RefreshInterval": 3600})
    found = answers(orthanc, 1)

    known = openmrs.records.requests()[0].patient
    openmrs.records.add_request(known, accession="A-2", steps=[StepFields()])
    named = {
        "PatientID": known.uuid,
        "AccessionNumber": "A-2",
        "StudyInstanceUID": generate_uid(),
    }
    send(orthanc, tmp_path, found[1], named, request_attributes=False)
    counted(orthanc, Delivered=1)

    new, uid = openmrs.records.add_patient("Ivan", "Петров"), generate_uid()
    openmrs.records.add_request(new, study_instance_uid=uid, steps=[StepFields()])
    named = {"PatientID": new.uuid, "AccessionNumber": "", "StudyInstanceUID": uid}
    send(orthanc, tmp_path, found[1], named, request_attributes=False)
    counted(orthanc, Delivered=2)
    assert openmrs.records.statuses() == {1: "scheduled", 2: "completed", 3: "completed"}
    evidence = [one["Evidence"] for one in notifications(orthanc).values()]
    assert evidence == ["AccessionNumber", "StudyInstanceUID"]


def test_decision_about_an_unknown_request_waits_while_openmrs_is_away(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 1)
    orthanc = start_orthanc({"RefreshInterval": 1})
    found = answers(orthanc, 1)
    patient = openmrs.records.requests()[0].patient
    openmrs.stop()
    changes = {
        "PatientID": patient.uuid,
        "StudyInstanceUID": generate_uid(),
        "AccessionNumber": "A-2",
    }
    send(orthanc, tmp_path, found[1], changes, request_attributes=False)
    eventually(
        lambda: orthanc.get("/openmrs/status")["OpenMRS"]["LastError"], "OpenMRS is not away"
    )
    send(orthanc, tmp_path, found[1])
    counted(orthanc, Pending=1)  # and the other, which came first, is neither held nor dropped

    openmrs.records.add_request(patient, accession="A-2", steps=[StepFields()])
    openmrs.start()
    completed(openmrs, 2, seconds=40)
    completed(openmrs, 1, seconds=40)
    counted(orthanc, Delivered=2)


def test_changed_address_and_password_take_effect_at_the_next_start_for_what_is_pending(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 1)
    orthanc = start_orthanc()
    found = answers(orthanc, 1)
    openmrs.accounts = {}
    send(orthanc, tmp_path, found[1])
    eventually(
        lambda: (
            [one["LastError"] for one in notifications(orthanc).values()]
            == [f"waiting for OpenMRS's list: {PROBLEMS['credentials']} (HTTP 401)"]
        ),
        "the refused sign-in is not told",
    )
    counted(orthanc, Pending=1)
    orthanc.stop()

    privileges = DEFAULT_ACCOUNTS["imaging"].privileges
    with Standin("v2", accounts={"imaging": Account("Changed456", privileges)}) as moved:
        moved.records = openmrs.records
        orthanc.configuration |= {
            "ImagingWorklistURL": moved.worklist_url,
            "ImagingUpdateRequestStatus": moved.update_url,
            "ImagingWorklistPassword": "Changed456",
        }
        orthanc.start()
        completed(moved, 1)
        counted(orthanc, Delivered=1)
        assert steps_told(moved) == [1]
        assert urlsplit(moved.update_url).port != urlsplit(openmrs.update_url).port
        orthanc.stop()
