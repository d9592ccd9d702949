"""What each generation of OpenMRS's Imaging module really answers, and what is told of it."""

import json
import os
import pwd
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydicom.uid import generate_uid

from orthanc_openmrs.doctor.command import main
from orthanc_openmrs.errors import PROBLEMS
from standin import Fault, Standin, StepFields
from tests.server.conftest import Start, module_keys
from tests.server.test_completion import (
    UPDATE,
    add_patients,
    answers,
    completed,
    counted,
    posts,
    send,
    steps_told,
)
from tests.server.test_loop import offered, step_ids
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

LISTED = ("v1", "v1.9", "1.1.6", "v2", "v3", "v4")
"""The generations that give a worklist and have one address."""


def problem(orthanc: ScratchOrthanc) -> str | None:
    """The kind of problem with OpenMRS that the status tells."""
    kind: str | None = orthanc.get("/openmrs/status")["OpenMRS"]["Problem"]
    return kind


def told_by_the_doctor(openmrs: Standin, folder: Path) -> str:
    """What the doctor says of an installation with the four keys."""
    folder.mkdir(exist_ok=True)
    file = folder / "orthanc.json"
    file.write_text(json.dumps(module_keys(openmrs)))
    with redirect_stdout(StringIO()) as said:
        main(["doctor", "--user", pwd.getpwuid(os.geteuid()).pw_name, str(file)])
    return said.getvalue()


def is_told_everywhere(openmrs: Standin, orthanc: ScratchOrthanc, folder: Path, kind: str) -> None:
    """Log, status and doctor say the same of a problem, in its own words (the page shows the
    status' words)."""
    eventually(lambda: problem(orthanc) == kind, f"the status doesn't say {kind}")
    meaning, _, advice = PROBLEMS[kind].partition(": ")
    assert meaning in orthanc.get("/openmrs/status")["OpenMRS"]["LastError"]
    eventually(lambda: meaning in orthanc.log, f"the log doesn't say {kind}")
    assert advice in orthanc.log
    said = told_by_the_doctor(openmrs, folder)
    assert meaning in said, said
    assert advice in said, said


@pytest.mark.parametrize("generation", LISTED)
def test_one_bad_row_leaves_the_last_good_list_and_says_which_row_it_may_be(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, generation: str
) -> None:
    openmrs.generation = generation
    add_patients(openmrs, 1)
    orthanc = start_orthanc({"RefreshInterval": 1})
    offered(orthanc, 1)
    row = "a patient without a birth date"
    if generation == "v3":
        row = "a step with an impossible date or time"
        patient = openmrs.records.add_patient("Anna", "Svensson")
        openmrs.records.add_request(patient, steps=[StepFields(start_date="NaNNaN00")])
    else:
        patient = openmrs.records.add_patient("Anna", "Svensson", birthdate=None)
        openmrs.records.add_request(patient, steps=[StepFields()])
    is_told_everywhere(openmrs, orthanc, tmp_path / "etc", "server-error")
    assert row in orthanc.get("/openmrs/status")["OpenMRS"]["LastError"]
    assert step_ids(scanner.find(orthanc.dicom_port)) == ["1"]
    assert "Svensson" not in orthanc.log


PROBLEM_OF_FAULT = {
    "redirect_https": "https",
    "redirect_oauth2": "single-sign-on",
    "redirect": "credentials",
    "tls_port": "tls-port",
}


def test_each_problem_of_the_way_to_openmrs_has_its_own_words_everywhere(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    orthanc = start_orthanc({"RefreshInterval": 1})
    https = openmrs.worklist_url.replace("http:", "https:")
    faults = [
        *(
            (Fault(fault, text=https * (fault == "redirect_https")), kind)
            for fault, kind in PROBLEM_OF_FAULT.items()
        ),
        *((Fault("status", status=status), "proxy") for status in (502, 503, 504)),
    ]
    # Nobody is signed in: else the doctor blames the account's privileges for a redirect.
    openmrs.set_fault(Fault("says", status=200, text='{"authenticated": false}'), path="/session")
    for fault, kind in faults:
        openmrs.set_fault(fault, path=urlsplit(openmrs.worklist_url).path)
        is_told_everywhere(openmrs, orthanc, tmp_path / "etc", kind)


def test_https_to_a_port_without_tls_is_told(openmrs: Standin, start_orthanc: Start) -> None:
    orthanc = start_orthanc(
        {"RefreshInterval": 1},
        ImagingWorklistURL=openmrs.worklist_url.replace("http:", "https:"),
        ImagingUpdateRequestStatus=openmrs.update_url.replace("http:", "https:"),
    )
    eventually(lambda: problem(orthanc) == "http-port", "the status doesn't say it")
    assert PROBLEMS["http-port"].partition(": ")[0] in orthanc.log


@pytest.mark.parametrize(
    ("generation", "kind"), [("v0.9", "no-steps"), ("1.1.4", "module-too-old")]
)
def test_a_module_that_gives_no_worklist_is_to_be_updated(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, generation: str, kind: str
) -> None:
    openmrs.generation = generation
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, steps=[])
    openmrs.records.add_request(patient, steps=[StepFields()])
    orthanc = start_orthanc({"RefreshInterval": 1})
    is_told_everywhere(openmrs, orthanc, tmp_path / "etc", kind)
    assert "update OpenMRS's Imaging module to 1.1.5 or later" in orthanc.log
    said = told_by_the_doctor(openmrs, tmp_path / "etc")
    assert PROBLEMS["module-too-old"].partition(": ")[0] in said
    assert "all is well" not in said


@pytest.mark.parametrize("generation", ["v1", "1.1.6", "v2", "v3", "v4"])
def test_a_study_of_twelve_steps_with_poor_images_is_told_whole(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, generation: str
) -> None:
    openmrs.generation = generation
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, steps=[StepFields(modality="CT") for _ in range(12)])
    orthanc = start_orthanc({"ReportInProgress": False})
    openmrs.orthanc_url = orthanc.url
    found = answers(orthanc, 12)
    images = [scanner.acquire(found[step], tmp_path, series=generate_uid()) for step in found]
    scanner.store(orthanc.dicom_port, images)
    counted(orthanc, Delivered=12, seconds=60)
    assert set(openmrs.records.statuses().values()) == {"completed"}
    assert sorted(steps_told(openmrs)) == list(range(1, 13))
    assert all(len(json.loads(post.body)["seriesList"]) == 1 for post in posts(openmrs))


@pytest.mark.parametrize("generation", LISTED)
def test_an_exception_in_place_of_a_verdict_is_no_delivery_and_tried_again_after_a_look(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, generation: str
) -> None:
    openmrs.generation = generation
    add_patients(openmrs, 4)
    orthanc = start_orthanc({"ReportInProgress": False})
    openmrs.orthanc_url = orthanc.url
    found = answers(orthanc, 4)
    forms = ("exception", "exception_cut", "exception_breaks", "exception_after_save")
    for step, form in enumerate(forms, 1):
        openmrs.set_fault(Fault(form, text="Svensson failed"), path=UPDATE, method="POST", times=1)
        told = len(posts(openmrs))
        send(orthanc, tmp_path, found[step])
        completed(openmrs, step)
        counted(orthanc, Delivered=step)
        # What was saved before the exception came is seen in the list, and not told again.
        assert len(posts(openmrs)) - told == (1 if form == "exception_after_save" else 2), form
    assert "Svensson" not in orthanc.log


def test_a_site_with_single_sign_on_is_served_by_tokens_that_are_renewed(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    openmrs.set_behaviour(single_sign_on=True)
    openmrs.tokens.lifetime = 3  # renewed every 2.7 s
    add_patients(openmrs, 2)
    client = openmrs.tokens.clients["orthanc"]
    section = {
        "RefreshInterval": 1,
        "ReportInProgress": False,
        "BearerToken": {
            "TokenURL": openmrs.token_url,
            "ClientID": "orthanc",
            "ClientSecret": client.secret,
            "Scope": "openid",
        },
    }
    orthanc = start_orthanc(section)
    openmrs.orthanc_url = orthanc.url
    found = answers(orthanc, 2)
    send(orthanc, tmp_path, found[1])
    counted(orthanc, Delivered=1)
    eventually(lambda: openmrs.tokens.issued > 2, "the token isn't renewed")
    openmrs.tokens.lifetime = 300
    eventually(lambda: problem(orthanc) is None, "the list isn't read")
    openmrs.tokens.revoke_all()  # as a restart of the provider does: 302 to the single sign-on
    send(orthanc, tmp_path, found[2])
    counted(orthanc, Delivered=2)
    assert orthanc.get("/openmrs/status")["OpenMRS"]["Reachable"]

    del openmrs.tokens.clients["orthanc"]
    openmrs.tokens.revoke_all()
    eventually(
        lambda: problem(orthanc) == "token-refused", "the status doesn't say that there is no token"
    )
    assert "HTTP 401, invalid_client" in orthanc.get("/openmrs/status")["OpenMRS"]["LastError"]
    for secret in (client.secret, "Imaging123"):
        assert secret not in orthanc.log


@pytest.mark.parametrize("old_core", [False, True])
@pytest.mark.parametrize(
    ("generation", "told"),
    [("v0", "v0"), ("v1", "v1"), ("v1.9", "v2"), ("1.1.6", "v2"), ("v2", "v2"), ("v3", "v3")],
)
def test_the_doctor_knows_the_generation(
    openmrs: Standin, tmp_path: Path, generation: str, told: str, old_core: bool
) -> None:
    openmrs.generation = generation
    openmrs.set_behaviour(old_core=old_core)
    add_patients(openmrs, 1)
    before = openmrs.records.statuses()
    said = told_by_the_doctor(openmrs, tmp_path / "etc")
    line = next(line for line in said.splitlines() if "status updates" in line)
    assert line.endswith(f"the account may report, to a module of generation {told}"), said
    assert openmrs.records.statuses() == before
