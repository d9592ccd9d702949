"""DICOMweb: the worklist (PS3.18 chapter 14), performed procedure steps (chapter 15)."""

import json
from typing import Any
from xml.etree import ElementTree

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthanc_openmrs.mpps.datasets import EXPLICIT, parse
from orthanc_openmrs.rest.dicom_model import NATIVE, from_xml, to_xml
from orthanc_openmrs.rest.dicomweb import LARGEST_DATASET
from orthanc_openmrs.rest.messages import Request, Response
from tests.unit.mpps.datasets import SERIES, end, start
from tests.unit.rest.application import Application

SEARCH = "/dicom-web/modality-scheduled-procedure-steps"
PERFORMED = "/dicom-web/modality-performed-procedure-steps/"
STEP = "00400100"


@pytest.fixture
def app() -> Application:
    return Application()


def found(app: Application, **query: str) -> list[dict[str, Any]]:
    response = app.ask(SEARCH, **query)
    assert response.status == 200, response.body
    assert response.content_type == "application/dicom+json"
    datasets: list[dict[str, Any]] = json.loads(response.body)
    return datasets


def value(dataset: dict[str, Any], tag: str) -> Any:
    return dataset[tag]["Value"][0] if "Value" in dataset[tag] else None


# --- chapter 14 ------------------------------------------------------------------------------


def test_a_search_finds_what_a_c_find_does(app: Application) -> None:
    offered = [item["ScheduledProcedureStepID"] for item in app.worklist.fresh().offered]
    every = found(app)
    assert [value(one, STEP)["00400009"]["Value"][0] for one in every] == offered
    for one in every:
        dataset = pydicom.Dataset.from_json(one)
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert dataset.ScheduledProcedureStepSequence[0].ScheduledStationAETitle
        assert dataset.PatientName


@pytest.mark.parametrize(
    "name",
    [
        "Modality",
        "00080060",
        "ScheduledProcedureStepSequence.Modality",
        "00400100.00080060",
        "ScheduledProcedureStepSequence.00080060",
    ],
)
def test_an_attribute_is_named_as_the_standard_has_it(app: Application, name: str) -> None:
    modalities = {value(one, STEP)["00080060"]["Value"][0] for one in found(app)}
    for modality in modalities:
        got = {value(one, STEP)["00080060"]["Value"][0] for one in found(app, **{name: modality})}
        assert got == {modality}
    assert found(app, **{name: "ZZ"}) == []


def test_uids_may_stand_apart_by_commas(app: Application) -> None:
    every = [value(one, "0020000D") for one in found(app)]
    wanted = ",".join(sorted(set(every)))
    assert len(found(app, StudyInstanceUID=wanted)) == len(every)
    assert {value(one, "0020000D") for one in found(app, StudyInstanceUID=every[0])} == {every[0]}


def test_more_attributes_are_included_where_they_are_asked_for(app: Application) -> None:
    (first, *_) = found(app, limit="1")
    assert "00101030" not in first or value(first, "00101030") is None
    (more, *_) = found(app, limit="1", includefield="AccessionNumber,00400100.00400020")
    assert "00400020" in value(more, STEP)
    (every, *_) = found(app, limit="1", includefield="all")
    assert set(every) > set(first)


def test_pages_say_what_is_left(app: Application) -> None:
    every = found(app)
    assert len(every) > 1
    first = app.ask(SEARCH, limit="1")
    assert first.headers["X-Total-Count"] == str(len(every))
    assert f"{len(every) - 1} additional results" in first.headers["Warning"]
    assert json.loads(first.body) == every[:1]
    assert found(app, offset="1") == every[1:]
    assert "Warning" not in app.ask(SEARCH).headers
    fuzzy = app.ask(SEARCH, fuzzymatching="true")
    assert "Only literal matching" in fuzzy.headers["Warning"]


@pytest.mark.parametrize(
    "query",
    [
        {"NoAttribute": "1"},
        {"00990001": "1"},
        {"ReferencedStudySequence.StudyInstanceUID": "1"},
        {"includefield": "NoAttribute"},
        {"limit": "0"},
        {"offset": "-1"},
        {"fuzzymatching": "maybe"},
    ],
)
def test_a_search_that_is_none_is_a_bad_request(app: Application, query: dict[str, str]) -> None:
    assert app.ask(SEARCH, **query).status == 400


def send(
    app: Application,
    method: str,
    path: str,
    content: bytes = b"",
    query: dict[str, str] | None = None,
    **headers: str,
) -> Response:
    named = {key.replace("_", "-"): text for key, text in headers.items()}
    return app.router.respond(Request(method, f"/openmrs{path}", query or {}, named, content))


def accepted(app: Application, accept: str, **query: str) -> Response:
    return send(app, "GET", SEARCH, query=query, accept=accept)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("application/dicom+json", "application/dicom+json"),
        ("application/json", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ("text/html, application/*;q=0.1", "application/dicom+json"),
        ("application/dicom+xml", "application/dicom+xml"),
        ("application/dicom+json;q=0.5, application/dicom+xml", "application/dicom+xml"),
        ('multipart/related; type="application/dicom+xml"', "multipart/related"),
        ('multipart/related; type="application/dicom+json"', "multipart/related"),
        ("multipart/related", "multipart/related"),
    ],
)
def test_an_answer_has_the_form_that_is_accepted(app: Application, accept: str, media: str) -> None:
    response = accepted(app, accept, limit="1")
    assert response.status == 200
    assert response.content_type.startswith(media)


@pytest.mark.parametrize("accept", ["text/html", "application/dicom+json;q=0", "image/png"])
def test_another_form_is_not_acceptable(app: Application, accept: str) -> None:
    assert accepted(app, accept).status == 406


def test_xml_says_the_same_as_json(app: Application) -> None:
    every = found(app)
    response = accepted(app, "application/dicom+xml")
    boundary = response.content_type.rpartition("boundary=")[2].encode()
    parts = response.body.split(b"--" + boundary)[1:-1]
    documents = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]
    assert [from_xml(one) for one in documents] == every
    root = ElementTree.fromstring(documents[0])
    assert root.tag == f"{{{NATIVE}}}NativeDicomModel"
    name = root.find(f"./{{{NATIVE}}}DicomAttribute[@keyword='PatientName']")
    assert name is not None
    assert name.attrib["vr"] == "PN"


# --- chapter 15 ------------------------------------------------------------------------------


def body(dataset: pydicom.Dataset) -> bytes:
    return json.dumps([dataset.to_json_dict()]).encode()


@pytest.mark.parametrize("changed", [{"update": ""}, {}], ids=["as asked", "as Orthanc tells it"])
def test_the_statuses_of_a_life(app: Application, changed: dict[str, str]) -> None:
    path = f"{PERFORMED}1.2.3"
    over = body(start(PerformedProcedureStepStatus="COMPLETED"))
    table = [
        ("GET", path, {}, b"", 404),
        ("POST", path, changed, body(end()), 404),
        ("POST", path, {}, over, 400),
        ("POST", path, {}, body(start()), 201),
        ("POST", path, {}, body(start()), 409),
        ("POST", f"{PERFORMED}none", {}, body(start()), 400),
        ("POST", path, changed, body(end()), 200),
        ("POST", path, changed, body(end()), 409),
        ("GET", path, {}, b"", 200),
    ]
    for method, where, query, content, status in table:
        response = send(app, method, where, content, query)
        assert response.status == status, (method, where, query, response.body)
    (dataset,) = json.loads(response.body)
    found = pydicom.Dataset.from_json(dataset)
    assert str(found.PatientName) == "Núñez^María"
    assert found.PerformedProcedureStepStatus == "COMPLETED"
    assert found.PerformedSeriesSequence[0].SeriesInstanceUID == SERIES
    kept = app.database.load_procedure("1.2.3")
    assert kept is not None
    assert kept[0].calling_ae_title == ""
    assert parse(kept[0].content, EXPLICIT).SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("media", ["application/dicom+json", "application/dicom+xml"])
def test_a_body_may_have_each_form(app: Application, media: str, in_parts: bool) -> None:
    model = start().to_json_dict()
    content = to_xml(model) if media.endswith("xml") else json.dumps(model).encode()
    if in_parts:
        head = f"--x\r\nContent-Type: {media}\r\n\r\n".encode()
        content = head + content + b"\r\n--x--\r\n"
        media = f'multipart/related; type="{media}"; boundary=x'
    response = send(app, "POST", f"{PERFORMED}1.2.3", content, content_type=media)
    assert response.status == 201, response.body
    told = json.loads(app.ask("/procedures/1.2.3").body)
    assert told["Steps"][0]["ScheduledProcedureStepID"] == "14"


@pytest.mark.parametrize(
    ("media", "content", "status"),
    [
        ("application/dicom", b"", 415),
        ("application/dicom+json", b"{", 400),
        ("application/dicom+json", b"[]", 400),
        ("application/dicom+json", b"[1]", 400),
        ("application/dicom+json", b'{"00100010": 1}', 400),
        ("application/dicom+json", b'{"00100010": {"vr": "XX", "Value": [1]}}', 400),
        ("application/dicom+json", b'{"a":' * 900 + b"1" + b"}" * 900, 400),
        ("application/dicom+xml", b"<a/>", 400),
        ("application/dicom+xml", b"<a", 400),
        ("application/dicom+xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 400),
        ("application/dicom+xml", b"<NativeDicomModel><x/></NativeDicomModel>", 400),
        ("multipart/related", b"x", 400),
        ("multipart/related; boundary=x", b"--x\r\n\r\n{}\r\n--x--", 415),
        ("application/dicom+json", b" " * (LARGEST_DATASET + 1), 413),
    ],
)
def test_another_body_is_refused(app: Application, media: str, content: bytes, status: int) -> None:
    response = send(app, "POST", f"{PERFORMED}1.2.3", content, content_type=media)
    assert response.status == status, response.body


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)


@given(
    st.dictionaries(
        st.sampled_from(["00100020", "00081030", "00400006", "00201206"]), _TEXTS, max_size=4
    )
)
def test_any_text_survives_xml(texts: dict[str, str]) -> None:
    dataset = {tag: {"vr": "LT", "Value": [text]} for tag, text in texts.items()}
    document = to_xml(dataset)
    read = from_xml(document)
    for tag, text in texts.items():
        expected = "".join(mark if mark not in "\ufffe\uffff" else "\ufffd" for mark in text)
        assert read[tag]["Value"] == [expected]
