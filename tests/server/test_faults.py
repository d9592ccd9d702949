"""Whatever OpenMRS does, scanners get the last good list, at once."""

import time
from functools import partial

import pytest

from standin import Fault, Standin, StepFields
from tests.server.conftest import Start
from tests.server.test_loop import offered, step_ids
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

FAULTS = [
    (Fault("hang"), "OpenMRS doesn't answer in time"),
    (Fault("slow", seconds=5), "OpenMRS doesn't answer in time"),
    (Fault("status", status=500), "OpenMRS fails"),
    (Fault("unauthorized"), "OpenMRS refuses the sign-in"),
    (Fault("forbidden"), "OpenMRS refuses this account"),
    (Fault("redirect"), "OpenMRS refuses the sign-in"),
    (Fault("redirect_oauth2"), "OpenMRS sends this account to its single sign-on"),
    (Fault("tls_port"), "the URL says http, but its port speaks TLS"),
    (Fault("status", status=502), "the proxy or servlet container in front of OpenMRS answers"),
    (Fault("exception"), "OpenMRS fails"),
    (Fault("exception_cut"), "OpenMRS fails"),
    (Fault("exception_breaks"), "OpenMRS fails"),
    (Fault("gzip_bomb", mebibytes=64), "the list is too long"),
    (Fault("login_page"), "what OpenMRS sends is no worklist"),
    (Fault("garbage"), "what OpenMRS sends is no worklist"),
    (Fault("not_array"), "what OpenMRS sends is no worklist"),
    (Fault("empty_200"), "what OpenMRS sends is no worklist"),
    (Fault("truncated"), "OpenMRS can't be reached"),
    (Fault("cut"), "OpenMRS can't be reached"),
    (Fault("endless"), "the list is too long"),
    (Fault("drip"), "OpenMRS doesn't answer in time"),
]


def test_scanners_get_the_last_good_list_whatever_openmrs_does(
    openmrs: Standin, start_orthanc: Start
) -> None:
    patient = openmrs.records.add_patient("Sokha", "ចាន់")
    openmrs.records.add_request(patient, steps=[StepFields(modality="CT")])
    orthanc = start_orthanc({"RefreshInterval": 1, "Timeout": 1, "MaxResponseSize": 1})
    offered(orthanc, 1)

    for fault, problem in FAULTS:
        openmrs.set_fault(fault)
        eventually(
            partial(_says, orthanc, problem),
            f"{fault.kind}: the status doesn't say: {problem}",
        )
        started = time.monotonic()
        found = scanner.find(orthanc.dicom_port)
        assert time.monotonic() - started < 1, fault.kind
        assert found.status == "Success", fault.kind
        assert step_ids(found) == ["1"], fault.kind
        openmrs.clear_faults()
        # The pause after a failure may be several seconds; a new try is what ends it.
        eventually(lambda: _last_error(orthanc) is None, f"no recovery after {fault.kind}", 30)

    for entry in openmrs.requests_log:
        assert entry.path.startswith(
            ("/openmrs/ws/rest/v1/worklist/requests", "/openmrs/ws/rest/v1/patient/")
        )


def test_new_request_is_on_the_scanner_within_the_interval_and_a_second(
    openmrs: Standin, start_orthanc: Start
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    orthanc = start_orthanc({"RefreshInterval": 2})
    eventually(lambda: _last_error(orthanc) is None, "OpenMRS is not read")
    for count in (1, 2, 3):
        openmrs.records.add_request(patient, steps=[StepFields()])
        created = time.monotonic()
        eventually(
            partial(_answers, orthanc, count),
            f"request {count} is not on the scanner",
            seconds=3,
        )
        assert time.monotonic() - created < 3


@pytest.mark.parametrize("ever_read", [False, True])
def test_query_fails_where_the_list_is_too_old_or_was_never_read(
    openmrs: Standin, start_orthanc: Start, ever_read: bool
) -> None:
    if not ever_read:
        openmrs.set_fault(Fault("status"))
    orthanc = start_orthanc({"RefreshInterval": 1, "MaxStaleness": 2})
    if ever_read:
        eventually(lambda: not _worklist_is_stale(orthanc), "OpenMRS is not read")
        openmrs.set_fault(Fault("status"))
    eventually(lambda: _worklist_is_stale(orthanc), "the list does not grow old")

    found = scanner.find(orthanc.dicom_port)
    assert "UnableToProcess" in found.status
    assert not found.answers
    reason = "MaxStaleness is 2 s" if ever_read else "no worklist was read from OpenMRS yet"
    eventually(lambda: reason in orthanc.log, "the log doesn't say why the query fails")

    openmrs.clear_faults()
    eventually(lambda: not _worklist_is_stale(orthanc), "no recovery", 30)
    assert scanner.find(orthanc.dicom_port).status == "Success"


def test_kept_list_is_served_after_a_restart_with_openmrs_down(
    openmrs: Standin, start_orthanc: Start
) -> None:
    patient = openmrs.records.add_patient("Ánh", "Nguyễn")
    openmrs.records.add_request(patient, steps=[StepFields(modality="CT")])
    orthanc = start_orthanc()
    offered(orthanc, 1)
    before = scanner.find(orthanc.dicom_port).answers
    orthanc.stop()
    openmrs.stop()
    orthanc.start()
    assert scanner.find(orthanc.dicom_port).answers == before


def _last_error(orthanc: ScratchOrthanc) -> str | None:
    status = orthanc.get("/openmrs/status")["OpenMRS"]
    if not status["LastSuccess"] and not status["LastError"]:
        return "nothing was read yet"
    error: str | None = status["LastError"]
    return error


def _says(orthanc: ScratchOrthanc, problem: str) -> bool:
    return problem in (_last_error(orthanc) or "")


def _answers(orthanc: ScratchOrthanc, count: int) -> bool:
    return len(scanner.find(orthanc.dicom_port).answers) == count


def _worklist_is_stale(orthanc: ScratchOrthanc) -> bool:
    return bool(orthanc.get("/openmrs/status")["Worklist"]["Stale"])
