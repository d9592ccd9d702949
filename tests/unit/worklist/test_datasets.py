"""Queries in, answers out: every key asked and nothing else, bytes as pydicom writes them."""

import random
import time
import warnings
from contextlib import suppress
from io import BytesIO

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from orthanc_openmrs.worklist.attributes import ATTRIBUTES, KNOWN, POSITION, Level
from orthanc_openmrs.worklist.datasets import (
    ENCODED_ANSWERS,
    MODALITY_WORKLIST_FIND,
    Encoder,
    layout,
    worklist_file,
)
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.query import Query, parse_query
from tests.unit.builders import (
    Keys,
    element,
    identifier,
    item,
    items,
    request,
    step,
    tag_of,
    vr_problem,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:Invalid value for VR:UserWarning",
    "ignore:The value length .* exceeds the maximum length:UserWarning",
)

REQUEST_KEYS = tuple(row.keyword for row in ATTRIBUTES if row.level is Level.REQUEST)
STEP_KEYS = tuple(row.keyword for row in ATTRIBUTES if row.level is Level.STEP)
OTHERS = ("InstitutionName", "PatientAge", "OtherPatientIDs", "StudyDate", "NumberOfFrames")
EVERYTHING = identifier(dict.fromkeys(REQUEST_KEYS, ""), dict.fromkeys(STEP_KEYS, ""))
VIETNAMESE = items(
    request(
        "7",
        step(location="Phòng 1", scheduled_performing_physician_name="Bác sĩ Đỗ"),
        patient_name="Ánh Thị Nguyễn",
        description="Chụp đầu",
        accession_number="1234567890123456789",
    )
)[0]


def answer(
    query: bytes, found: WorklistItem | None = None, codec: str = "utf-8", title: str = "CT1"
) -> bytes:
    """The bytes of an answer."""
    return Encoder(layout(parse_query(query)), (codec,)).encode(found or VIETNAMESE, title)


def read(encoded: bytes) -> Dataset:
    """An answer as pydicom reads it."""
    return pydicom.dcmread(BytesIO(encoded), force=True)


def written(dataset: Dataset) -> bytes:
    """A dataset as pydicom writes it."""
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def expected(found: WorklistItem, keys: Keys, inside: Keys | None, title: str) -> Dataset:
    """The answer, as pydicom builds it."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    of_step = Dataset()
    for target, asked in ((dataset, keys), (of_step, inside or {})):
        for keyword in asked:
            value = found[keyword] if keyword in POSITION else None
            if keyword == "ScheduledStationAETitle":
                value = title
            setattr(target, keyword, [] if keyword.endswith("Sequence") else value)
    if inside is not None:
        dataset.ScheduledProcedureStepSequence = [of_step]
    return dataset


# --- the bytes -----------------------------------------------------------------------------

texts = st.text("aé山😀ន្ا^ ", max_size=70)


@settings(max_examples=150)
@given(
    keys=st.sets(st.sampled_from((*REQUEST_KEYS, *OTHERS, *STEP_KEYS[:3]))),
    inside=st.none() | st.sets(st.sampled_from((*STEP_KEYS, *OTHERS, "PatientName")), min_size=1),
    name=texts,
    text=texts,
    title=st.sampled_from(("CT1", "CT12")),
)
def test_an_answer_is_what_pydicom_writes(
    keys: set[str], inside: set[str] | None, name: str, text: str, title: str
) -> None:
    (found,) = items(
        request("7", step(description=text, location=text), patient_name=name, description=text)
    )
    asked = dict.fromkeys(keys, "")
    asked_inside = None if inside is None else dict.fromkeys(inside, "")
    encoded = answer(identifier(asked, asked_inside), found, title=title)
    assert encoded == written(expected(found, asked, asked_inside, title))


@pytest.mark.parametrize(
    ("query", "keywords", "inside", "why"),
    [
        (EVERYTHING, set(REQUEST_KEYS), set(STEP_KEYS), "all of Table K.6-1"),
        (identifier({}, None), set(), None, "nothing"),
        (identifier({"PatientID": ""}, None), {"PatientID"}, None, "no step"),
        (
            identifier({}, empty_sequence=True),
            set(),
            {key for key in STEP_KEYS if not key.endswith("Sequence")},
            "the step left open: all of it",
        ),
        (
            identifier({}, {}),
            set(),
            {key for key in STEP_KEYS if not key.endswith("Sequence")},
            "the step's item left open",
        ),
        (
            identifier({"RequestedProcedureCodeSequence": ""}, {"Modality": ""}),
            {"RequestedProcedureCodeSequence"},
            {"Modality"},
            "a code sequence left open: zero length",
        ),
        (
            identifier(
                {"RequestedProcedureCodeSequence": "P5"}, {"ScheduledProtocolCodeSequence": "P5"}
            ),
            set(),
            set(),
            "code sequences with a key: none of them, for empty ones would fail to match",
        ),
        (
            identifier({"0008,0000": "", "0010,0000": "", "PatientSex": "", "0009,0010": "A"}),
            {"PatientSex"},
            None,
            "group lengths and private keys aside",
        ),
    ],
)
def test_an_answer_holds_what_was_asked_and_nothing_else(
    query: bytes, keywords: set[str], inside: set[str] | None, why: str
) -> None:
    dataset = read(answer(query))
    found = {part.keyword for part in dataset if part.keyword}
    assert len(found) == len(dataset)
    steps = {"ScheduledProcedureStepSequence"} if inside is not None else set()
    assert found == keywords | {"SpecificCharacterSet"} | steps
    if inside is not None:
        (of_step,) = dataset.ScheduledProcedureStepSequence
        assert {part.keyword for part in of_step} == inside


def test_what_openmrs_has_no_value_for_has_zero_length() -> None:
    dataset = read(answer(EVERYTHING))
    for row in ATTRIBUTES:
        source = (
            dataset if row.level is Level.REQUEST else dataset.ScheduledProcedureStepSequence[0]
        )
        if not row.known:
            assert not source[row.keyword].value, row.keyword


def test_the_answer_names_the_station_it_is_for() -> None:
    inside = read(answer(EVERYTHING, item(scheduled_station_ae_title=""), title="CT9"))
    assert inside.ScheduledProcedureStepSequence[0].ScheduledStationAETitle == "CT9"


def test_encoded_answers_are_kept_and_their_number_is_bounded() -> None:
    found = item()
    encoder = Encoder(layout(parse_query(EVERYTHING)))
    assert encoder.encode(found, "CT1") is encoder.encode(found, "CT1")
    for at in range(50):
        assert f"T{at}".encode() in encoder.encode(found, f"T{at}")
    assert found.encoded is not None
    assert len(found.encoded) <= ENCODED_ANSWERS
    again = Encoder(layout(parse_query(EVERYTHING)))
    assert again.encode(found, "T49") is encoder.encode(found, "T49")


def test_a_query_with_other_values_has_the_same_layout() -> None:
    one, other = (
        layout(parse_query(identifier({"PatientID": number}, {"Modality": ""})))
        for number in ("1", "2")
    )
    assert one is other


# --- transliteration ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["山＝田 太", "山＾田 太", "山＼田 太", "a∖b ⁼c"])
def test_transliteration_makes_no_delimiter_of_a_name(name: str) -> None:
    (found,) = items(request("7", patient_name=name))
    sent = str(read(answer(EVERYTHING, found, codec="ascii")).PatientName)
    assert vr_problem("PN", sent) == ""
    assert sent.count("^") == found["PatientName"].count("^")


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("utf-8", "Nguyễn^Ánh^Thị"),
        ("ascii", "Nguyen^Anh^Thi"),
        ("iso8859-1", "Nguyen^Ánh^Thi"),
    ],
)
def test_a_station_gets_characters_that_it_can_hold(codec: str, name: str) -> None:
    dataset = read(answer(EVERYTHING, codec=codec))
    assert str(dataset.PatientName) == name


@pytest.mark.parametrize(
    "text",
    ["検査" * 32, "Рентгенщина" * 5, "щ" * 64, "រូបភាព" * 10],
    ids=["Chinese", "Russian", "shch", "Khmer"],
)
def test_a_transliterated_value_is_as_short_as_its_vr_wants_it(text: str) -> None:
    (found,) = items(
        request(
            "7",
            step(description=text, location=text, scheduled_station_name=text),
            patient_name=text,
            description=text,
            accession_number=text,
        )
    )
    dataset = read(answer(EVERYTHING, found, codec="ascii"))
    inside = dataset.ScheduledProcedureStepSequence[0]
    for row in KNOWN:
        value = str((inside if row.level is Level.STEP else dataset)[row.keyword].value or "")
        assert vr_problem(row.vr, value) == "", row.keyword


# --- the .wl file --------------------------------------------------------------------------


def test_the_wl_file_is_a_dicom_file_with_every_value() -> None:
    data = worklist_file(VIETNAMESE, "CT1")
    dataset = pydicom.dcmread(BytesIO(data))
    meta = dataset.file_meta
    assert data[128:132] == b"DICM"
    assert meta.MediaStorageSOPClassUID == MODALITY_WORKLIST_FIND
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.MediaStorageSOPInstanceUID.is_valid
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    (inside,) = dataset.ScheduledProcedureStepSequence
    for row in KNOWN:
        source = inside if row.level is Level.STEP else dataset
        assert str(source[row.keyword].value) == VIETNAMESE[row.keyword], row.keyword
    assert worklist_file(VIETNAMESE, "CT1") == data


# --- reading a query -----------------------------------------------------------------------


def keys_of(query: Query) -> dict[str, str]:
    """What a query asks of which key."""
    return {key.keyword or f"{key.tag:08X}": key.text for key in query.keys}


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("", "ascii", "Jones^Alice"),
        ("", "utf-8", "Nguyễn^Ánh"),
        ("", "iso8859-1", "Müller^Jörg"),
        ("ISO_IR 100", "iso8859-1", "Müller^Jörg"),
        ("ISO_IR 101", "iso8859-2", "Łukasz^Žiga"),
        ("ISO_IR 144", "iso8859-5", "Иванов^Пётр"),
        ("ISO_IR 126", "iso8859-7", "Γιώργος"),
        ("ISO_IR 127", "iso8859-6", "محمد"),
        ("ISO_IR 138", "iso8859-8", "דוד"),
        ("ISO_IR 166", "tis-620", "สมชาย"),
        ("ISO_IR 192", "utf-8", "Nguyễn^Ánh*"),
        ("GB18030", "gb18030", "王^小明"),
        ("GBK", "gbk", "王^小明"),
        ("\\ISO 2022 IR 87", "iso2022_jp", "Yamada^Tarou=山田^太郎"),
        ("\\ISO 2022 IR 149", "iso2022_kr", "Kim"),
    ],
)
def test_a_name_is_read_in_the_character_set_of_the_query(
    charset: str, codec: str, name: str
) -> None:
    encoded = name.encode(codec).removeprefix(b"\x1b$)C")
    query = parse_query(
        (element(0x00080005, "CS", charset.encode()) if charset else b"")
        + element(0x00100010, "PN", encoded)
    )
    assert keys_of(query) == {"PatientName": name}


@pytest.mark.parametrize(
    ("keys", "inside", "asked", "asked_inside"),
    [
        ({}, None, {}, None),
        ({"PatientID": " X1 "}, {}, {"PatientID": "X1"}, {}),
        (
            {"PatientID": "A\\B"},
            {"Modality": "CT\\MR"},
            {"PatientID": "A\\B"},
            {"Modality": "CT\\MR"},
        ),
        ({"PregnancyStatus": "0"}, None, {"PregnancyStatus": "0"}, None),
        (
            {"PatientBirthDate": "19900101-"},
            {"ScheduledProcedureStepStartDate": "-20250703"},
            {"PatientBirthDate": "19900101-"},
            {"ScheduledProcedureStepStartDate": "-20250703"},
        ),
        ({"StudyInstanceUID": "1.2\\1.3"}, {"Modality": "C*"}, None, {"Modality": "C*"}),
        ({"0008,0000": "", "0009,0010": "P", "0009,1001": "x"}, None, {}, None),
        ({"4320,1234": "x"}, None, {"43201234": "x"}, None),
    ],
)
def test_a_query_is_read_as_it_was_asked(
    keys: Keys, inside: Keys | None, asked: Keys | None, asked_inside: Keys | None
) -> None:
    query = parse_query(identifier(keys, inside))
    assert keys_of(query) == (keys if asked is None else asked)
    found = None if query.step_keys is None else {k.keyword: k.text for k in query.step_keys}
    assert found == asked_inside


def test_a_key_of_an_unknown_vr_costs_nothing_else() -> None:
    data = b"".join(
        (
            element(0x00100020, "LO", b"X1"),
            element(0x00101000, "UN", b"\x01\x02\x03\x04"),
            element(0x43201235, "UN", b"\xff\xfe"),
        )
    )
    query = parse_query(data)
    assert query.text("PatientID") == "X1"
    assert read(answer(data)).PatientID == VIETNAMESE["PatientID"]


@pytest.mark.parametrize("form", ["implicit", "explicit", "big endian", "file", "implicit file"])
def test_a_query_is_read_in_every_transfer_syntax(form: str) -> None:
    dataset = Dataset()
    dataset.PatientID = "X1"
    inside = Dataset()
    inside.Modality = "CT"
    dataset.ScheduledProcedureStepSequence = [inside]
    buffer = BytesIO()
    if "file" in form:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = UID(MODALITY_WORKLIST_FIND)
        dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if "implicit" in form else ExplicitVRLittleEndian
        )
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    else:
        pydicom.dcmwrite(
            buffer, dataset, implicit_vr=form == "implicit", little_endian=form != "big endian"
        )
    query = parse_query(buffer.getvalue())
    assert (query.text("PatientID"), query.text("Modality")) == ("X1", "CT")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (identifier({}, {"Modality": "C*"}), "a wildcard"),
        (identifier({"PatientBirthDate": "1990-01-01"}), "no DA"),
        (identifier({"AccessionNumber": "1234567890123456789"}), "over-long"),
        (identifier({"StudyInstanceUID": "1.2*"}), "no UI"),
        (identifier({"PatientName": "Jones"}, charset="ISO-IR-999"), "an unknown character set"),
    ],
)
def test_reading_a_query_writes_nothing_to_the_error_output(
    query: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    # pydicom's warnings may hold the value, and would stand beside Orthanc's log.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert parse_query(query)
    assert [str(warning.message) for warning in told] == []
    assert caplog.messages == []


mutations = st.builds(
    lambda seed, cuts, start: _mutated(random.Random(seed), cuts, start),
    st.integers(0, 2**32),
    st.integers(0, 6),
    st.sampled_from((EVERYTHING, worklist_file(VIETNAMESE, "CT1"), identifier({}, {}))),
)


def _mutated(chance: random.Random, times: int, start: bytes) -> bytes:
    data = bytearray(start)
    for _ in range(times):
        at = chance.randrange(len(data) or 1)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at:]
            case 2:
                data[at:at] = data[: chance.randrange(40)]
            case _:
                data[at : at + 2] = b"\xff\xff"
    return bytes(data)


def read_in_time(data: bytes, seconds: float) -> None:
    """Read bytes as a query, and answer it where it is one; anything but a ValueError fails."""
    started = time.monotonic()
    with suppress(ValueError):
        assert len(answer(data)) < 100_000
    assert time.monotonic() - started < seconds


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=400)
@given(st.binary(max_size=200) | mutations)
def test_whatever_bytes_come_there_is_a_query_or_a_value_error(data: bytes) -> None:
    read_in_time(data, 2)


def test_a_sequence_nested_a_thousand_deep_costs_no_time() -> None:
    data = b""
    for _ in range(1000):
        inside = b"\xfe\xff\x00\xe0" + len(data).to_bytes(4, "little") + data
        data = element(tag_of("RequestedProcedureCodeSequence"), "SQ", inside)
    read_in_time(data, 5)
