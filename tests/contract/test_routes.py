"""Routes, generations and what the stand-in logs."""

import http.client
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

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


NAMES = {"prefix": "Dr.", "family_prefix": "van", "family2": "Lê", "suffix": "Jr", "degree": "MD"}


def test_core_rest_gives_patients_and_the_session(standin: Standin) -> None:
    records = standin.records
    patient = records.add_patient("Ánh", "Nguyễn", "Thị", gender="F", **NAMES)
    reply = call(standin, "GET", f"{REST}patient/{patient.uuid}?v=full").json
    person, name = reply["person"], reply["person"]["preferredName"]
    assert (name["givenName"], name["middleName"], name["familyName"]) == ("Ánh", "Thị", "Nguyễn")
    assert (name["familyName2"], name["display"]) == ("Lê", patient.full_name)
    assert {"prefix", "familyNamePrefix", "familyNameSuffix", "degree"}.isdisjoint(name)
    assert person["names"] == [name]
    assert (person["birthdate"], person["gender"]) == ("1990-01-01T00:00:00.000+0000", "F")
    assert reply["identifiers"][0]["identifier"]
    missing = call(standin, "GET", f"{REST}patient/{'0' * 36}?v=full")
    assert (missing.status, "error" in missing.json) == (404, True)
    assert call(standin, "GET", REST + "session").json["authenticated"] is True

    studies = f"{REST}imaging/studies?patient={patient.uuid}"
    assert call(standin, "GET", studies).json == []
    post(standin, update(records.add_request(patient, steps=[StepFields()]), 1))
    assert call(standin, "GET", studies).json == [{"studyInstanceUID": UID}]


def test_all_parts_of_a_name_come_with_a_custom_representation_only(standin: Standin) -> None:
    patient = standin.records.add_patient("Ánh", "Nguyễn", "Thị", **NAMES)
    path = f"{REST}patient/{patient.uuid}"
    custom = "custom:(uuid,identifiers:(identifier),person:(gender,preferredName:full))"
    reply = call(standin, "GET", f"{path}?v={custom}").json
    assert set(reply) == {"uuid", "identifiers", "person", "resourceVersion"}
    assert reply["identifiers"][0]["identifier"] == patient.identifier
    name = reply["person"]["preferredName"]
    assert (name["prefix"], name["degree"], name["familyName2"]) == ("Dr.", "MD", "Lê")
    assert (name["familyNamePrefix"], name["familyNameSuffix"]) == ("van", "Jr")
    assert "preferredName" in call(standin, "GET", path).json["person"]
    unknown = call(standin, "GET", f"{path}?v=custom:(uuid,weather)")
    assert (unknown.status, "error" in unknown.json) == (400, True)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("q=nguyễn", [0, 1]),
        ("q=ng%20b", [1]),
        ("q=100002gej", [1]),
        ("q=100002", []),
        ("q=n", []),
        ("identifier=100001GEJ", [0]),
        ("identifier=Nguyễn", []),
        ("q=", []),
    ],
)
def test_patients_are_found_by_name_or_identifier(
    standin: Standin, asked: str, found: list[int]
) -> None:
    made = [standin.records.add_patient(given, "Nguyễn") for given in ("Ánh", "Bình")]
    reply = call(standin, "GET", f"{REST}patient?{quote(asked, safe='=&%')}").json
    assert [one["uuid"] for one in reply["results"]] == [made[i].uuid for i in found]


def test_core_rest_gives_pages(standin: Standin) -> None:
    for number in range(120):
        standin.records.add_patient(f"Given{number}", "Same")
    path, names = f"{REST}patient?q=same&v=custom:(display)&totalCount=true", []
    following: str | None = path
    sizes = []
    while following:
        page = call(standin, "GET", following).json
        sizes.append(len(page["results"]))
        names += [one["display"] for one in page["results"]]
        uris = [link["uri"] for link in page["links"] if link["rel"] == "next"]
        following = uris[0].removeprefix(standin.origin) if uris else None
    assert (sizes, len(set(names)), page["totalCount"]) == ([50, 50, 20], 120, 120)
    assert len(call(standin, "GET", path + "&limit=100").json["results"]) == 100
    assert "links" not in call(standin, "GET", f"{REST}patient?q=given7").json
    for wrong in ("limit=101", "limit=0", "startIndex=121"):
        assert call(standin, "GET", f"{path}&{wrong}").status == 500
    standin.set_behaviour(most_results=1000)
    assert len(call(standin, "GET", path + "&limit=1000").json["results"]) == 120


def test_a_merged_patient_is_voided_and_its_identifiers_lead_to_the_preferred_one(
    standin: Standin,
) -> None:
    records = standin.records
    old, kept = records.add_patient("A", "B"), records.add_patient("A", "Bb")
    request = records.add_request(old, steps=[StepFields()])
    path = f"{REST}patient/{old.uuid}?v=full"
    assert call(standin, "GET", path).json["voided"] is False
    standin.merge_patients(kept, old)
    reply = call(standin, "GET", path).json
    assert (reply["uuid"], reply["voided"], reply["person"]["voided"]) == (old.uuid, True, True)
    assert reply["auditInfo"]["voidReason"] == f"Merged with patient #{kept.id}"
    by_number = call(standin, "GET", f"{REST}patient?identifier={old.identifier}").json
    assert [found["uuid"] for found in by_number["results"]] == [kept.uuid]
    assert first(standin)["PatientID"] == old.uuid  # the module's rows stay

    records.merge_patients(kept, old, move=True)
    assert records.request(request.id).patient.uuid == kept.uuid
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
