"""Routes, generations and what the stand-in logs."""

import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest

from standin import Standin, StepFields
from tests.contract.calls import (
    REST,
    STEPPED,
    UID,
    add,
    call,
    first,
    generations,
    get_list,
    is_exception,
    post,
    query,
    update,
)


@generations()
def test_other_generations_routes_do_not_exist(standin: Standin) -> None:
    other = "v1" if standin.generation == "v0" else "v0"
    with Standin(other) as different:
        assert call(standin, "GET", different.dialect.list_path).status == 404
        assert call(standin, "POST", different.dialect.update_path).status == 404
    missing = standin.generation in ("v0.9", "1.1.4")  # these have no way back at all
    assert (post(standin, {}, query(1)).status == 404) is missing


@generations("v1", "v2", "v3")  # ✔
def test_the_wrong_method_is_an_exception(standin: Standin) -> None:
    for method, path in (
        ("GET", standin.dialect.update_path),
        ("POST", standin.dialect.list_path),
    ):
        standin.set_behaviour(old_core=False)
        assert is_exception(call(standin, method, path))
        standin.set_behaviour(old_core=True)
        assert call(standin, method, path).status == 405
    assert call(standin, "POST", REST + "patient/x", {}).status == 405


def test_an_upgrade_while_running_changes_format_and_routes() -> None:
    with Standin("v0") as standin:
        add(standin)
        charsets = []
        for generation in STEPPED:
            standin.generation = generation
            charsets.append(first(standin)["SpecificCharacterSet"])
        new = [STEPPED[i] for i, charset in enumerate(charsets) if charset != "ISO_IR 100"]
        assert (new, charsets[STEPPED.index("v3")]) == (["v3"], "ISO_IR 192")
        standin.generation = "v3"
        assert first(standin)["StudyInstanceUID"] is None  # only new requests get one
    with pytest.raises(ValueError, match="v9"):
        standin.generation = "v9"


def test_core_rest_gives_patients_and_the_session(standin: Standin) -> None:
    records = standin.records
    more = {
        "prefix": "Dr.",
        "family_prefix": "van",
        "family2": "Lê",
        "suffix": "Jr",
        "degree": "MD",
    }
    patient = records.add_patient("Ánh", "Nguyễn", "Thị", gender="F", **more)
    reply = call(standin, "GET", f"{REST}patient/{patient.uuid}?v=full").json
    person, name = reply["person"], reply["person"]["preferredName"]
    assert (name["givenName"], name["middleName"], name["familyName"]) == ("Ánh", "Thị", "Nguyễn")
    assert (name["familyName2"], name["prefix"], name["degree"]) == ("Lê", "Dr.", "MD")
    assert (name["familyNamePrefix"], name["familyNameSuffix"]) == ("van", "Jr")
    assert (person["birthdate"], person["gender"]) == ("1990-01-01T00:00:00.000+0000", "F")
    assert reply["identifiers"][0]["identifier"]
    missing = call(standin, "GET", f"{REST}patient/{'0' * 36}?v=full")
    assert (missing.status, "error" in missing.json) == (404, True)
    assert call(standin, "GET", REST + "session").json["authenticated"] is True

    studies = f"{REST}imaging/studies?patient={patient.uuid}"
    assert call(standin, "GET", studies).json == []
    post(standin, update(records.add_request(patient, steps=[StepFields()]), 1))
    assert call(standin, "GET", studies).json == [{"studyInstanceUID": UID}]


def test_a_merged_patient_is_voided_and_names_the_preferred_one(standin: Standin) -> None:
    records = standin.records
    old, kept = records.add_patient("A", "B"), records.add_patient("A", "Bb")
    request = records.add_request(old, steps=[StepFields()])
    path = f"{REST}patient/{old.uuid}?v=full"
    assert call(standin, "GET", path).json["voided"] is False
    records.merge_patients(kept, old)
    reply = call(standin, "GET", path).json
    assert (reply["uuid"], reply["voided"], reply["person"]["voided"]) == (old.uuid, True, True)
    assert reply["auditInfo"]["voidReason"] == f"Merged with patient #{kept.id}"
    assert records.request(request.id).patient == kept
    assert first(standin)["PatientID"] == kept.uuid

    standin.set_behaviour(follows_merges=True)
    assert call(standin, "GET", path).json["uuid"] == kept.uuid


def test_the_log_has_every_request_with_its_answer(standin: Standin) -> None:
    get_list(standin, "?a=b")
    post(standin, b"{}", account=("imaging", "wrong"))
    listed, posted = standin.requests_log
    assert (listed.method, listed.path, listed.query) == ("GET", standin.dialect.list_path, "a=b")
    assert (listed.user, listed.status) == ("imaging", 200)
    assert (posted.body, posted.user, posted.status) == (b"{}", "imaging", 401)
    assert listed.time <= posted.time


def test_a_connection_is_kept_alive(standin: Standin) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=5)
    ports = set()
    for _ in range(3):
        connection.request("GET", REST + "session")
        assert connection.getresponse().read() == b'{"authenticated":false}'
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


def test_concurrent_updates_are_all_saved(standin: Standin) -> None:
    requests = [add(standin) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        replies = pool.map(lambda r: post(standin, update(r, r.id, uid=f"1.2.{r.id}")), requests)
        assert {reply.status for reply in replies} == {200}
    assert set(standin.records.statuses().values()) == {"completed"}
