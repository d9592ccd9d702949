"""What a scanner may send, held against a plain matcher written from the standard.

Thousands of random queries in 19 character sets go to a running Orthanc, with the Lua filter and
without. With it, the answers are those of the standard. Without it some steps may be missing
(docs/conformance.md says which); with both, no answer is ever without its one step.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from orthanc_openmrs.worklist.charset import CODECS
from standin import Standin, StepFields
from tests.server.conftest import Start, module_keys
from tests.server.plain_matcher import DATE, STATION, TIME, perhaps, surely
from tests.server.raw_scanner import Answered, RawScanner
from tests.server.test_loop import offered
from tests.unit.builders import element, identifier, tag_of
from trial.orthanc import SCRIPT, ScratchOrthanc

FILTER = SCRIPT.with_suffix(".lua")

CHARACTER_SETS = (
    ("ISO_IR 192", "utf-8"),
    ("ISO_IR 100", "iso8859-1"),
    ("ISO_IR 101", "iso8859-2"),
    ("ISO_IR 109", "iso8859-3"),
    ("ISO_IR 110", "iso8859-4"),
    ("ISO_IR 148", "iso8859-9"),
    ("ISO_IR 144", "iso8859-5"),
    ("ISO_IR 127", "iso8859-6"),
    ("ISO_IR 126", "iso8859-7"),
    ("ISO_IR 138", "iso8859-8"),
    ("ISO_IR 166", "iso8859-11"),
    ("ISO_IR 13", "shift_jis"),
    ("GB18030", "gb18030"),
    ("ISO 2022 IR 100", "iso8859-1"),
    ("\\ISO 2022 IR 87", "iso2022_jp"),
    ("ISO_IR 6", "ascii"),
    ("", "utf-8"),
    ("ISO-IR 100", "iso8859-1"),
    ("UTF-8", "utf-8"),
)
"""What a query declares, and how it is written. The last two are no names of the standard."""

EXACTLY_READ = CHARACTER_SETS[:11] + CHARACTER_SETS[12:14] + CHARACTER_SETS[16:17]
"""Those under which Orthanc reads every letter as it was meant, where its own is UTF-8."""

STEP_KEYS = (
    STATION,
    DATE,
    TIME,
    "Modality",
    "ScheduledPerformingPhysicianName",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepID",
    "ScheduledStationName",
    "ScheduledProcedureStepLocation",
)
REQUEST_KEYS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "StudyInstanceUID",
    "RequestingPhysician",
)

PEOPLE = (
    ("Anna", "Svensson", "1990-01-01", "F"),
    ("Madonna", "", "1958-08-16", "F"),
    ("Thị Ánh", "Nguyễn", "1985-05-05", "F"),
    ("Алексей", "Смирнов", "1970-12-31", "M"),
    ("伟", "王", "2001-02-03", "M"),
    ("Jörg", "Großmann", "1949-07-07", "M"),
    ("فاطمة", "الحسن", "1980-04-04", "O"),
    ("Betty", "Williams", "1999-09-09", "U"),
)
STEPS = (
    StepFields("CT", "CT1", "20250702", "000000", "Head", "Dr. Okafor", "A2", "Room 1"),
    StepFields("MR", "MR1", "20250702", "080000", "Größe", "Straße^Léa", "Süd", "Room 1"),
    StepFields("CT", "ct room", "20250703", "090000", "Тест", "Смирнов", "", ""),
    StepFields("US", "", "20250703", "093015", "Head neck", None, "A2", "Saal ß"),
    StepFields("DX", "CT1", "20250703", None, "", "王^伟", "X", "地下"),
    StepFields("CR", "CR1", "20250704", "143000", "a*b?c", "Lin", "A2", "Room 2"),
    StepFields("CT", "CT1", "20250704", "235959", "Head", "DR. OKAFOR", "a2", "room 1"),
    StepFields("CT", "CT2", "20250705", "010000", "Μάτι", "Παπαδόπουλος", "B", "ออก"),
)


@dataclass(frozen=True, slots=True)
class Both:
    """The same list in two Orthancs, and what scanners see of it, by step."""

    filtered: ScratchOrthanc
    unfiltered: ScratchOrthanc
    steps: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Orthanc with and without the filter."""
    folder = tmp_path_factory.mktemp("queries")
    with Standin("v2") as openmrs:
        for at, (given, family, born, sex) in enumerate(PEOPLE):
            patient = openmrs.records.add_patient(given, family, birthdate=born, gender=sex)
            openmrs.records.add_request(
                patient,
                accession=f"ACC-{at}",
                description=("Head", "Größe", "")[at % 3],
                physician="Dr. Müller" if at % 2 else None,
                study_instance_uid=f"1.2.3.{at}",
                steps=[STEPS[at], STEPS[-at - 1]],
            )
        keys = module_keys(openmrs)
        with (
            ScratchOrthanc(folder / "with", keys | {"LuaScripts": [str(FILTER)]}) as filtered,
            ScratchOrthanc(folder / "without", keys) as unfiltered,
        ):
            offered(filtered, 2 * len(PEOPLE))
            offered(unfiltered, 2 * len(PEOPLE))
            yield Both(filtered, unfiltered, _seen(filtered))


def _seen(orthanc: ScratchOrthanc) -> dict[str, dict[str, str]]:
    found = {}
    for row in orthanc.get("/openmrs/worklist"):
        step = {key: str(row[key] or "") for key in (*STEP_KEYS, *REQUEST_KEYS)}
        if any(word.startswith(TIME) for word in row["Warnings"]):
            step[TIME] = ""
        found[step["ScheduledProcedureStepID"]] = step
    return found


class Queries:
    """Random queries, made of what is in the list and of what people do to it."""

    def __init__(self, seed: int, steps: list[dict[str, str]]) -> None:
        self._random = random.Random(seed)
        self._steps = steps

    def query(self) -> dict[str, str]:
        """One to three keys, mostly of one step."""
        step = self._random.choice(self._steps)
        keys = self._random.sample((*STEP_KEYS, *STEP_KEYS, *REQUEST_KEYS), 3)
        count = self._random.choice((1, 1, 2, 2, 3))
        return {key: self._text(key, step[key]) for key in keys[:count]}

    def _text(self, key: str, value: str) -> str:
        pick = self._random.choice
        if key in (DATE, "PatientBirthDate"):
            other = pick(self._steps)[key]
            first, last = sorted((value, other))
            return pick((value, f"{first}-{last}", f"{value}-", f"-{value}", f"{first}-{last}", ""))
        if key == TIME:
            short = pick((value, value[:4], value[:2], f"{value}.000", "0800", "0930"))
            other = pick(("235959", "2359", "235959.999", "0900", "093000", "12"))
            return pick(
                (short, f"{short}-{other}", f"{short}-", f"-{other}", "-".join((other, short)))
            )
        if key == "StudyInstanceUID":
            return pick((value, f"{value}\\9.9", f"9.9\\{value}", "1.2"))
        return self._words(value, pick(self._steps)[key])

    def _words(self, value: str, other: str) -> str:
        pick, at = self._random.choice, self._random.randrange(len(value) + 1)
        return pick(
            (
                value,
                value[:at] + "*",
                "*" + value[at:],
                value[:at] + "?" + value[at + 1 :],
                value[:at] + "*" + value[at + 1 :],
                f"{value}\\{other}",
                f"{other} \\ {value}",
                f" {value} ",
                f" {value}",
                value.swapcase(),
                value + "^",
                value + "=",
                value + "^*",
                "*",
                other,
            )
        )


def _identifier(query: dict[str, str], declared: str, codec: str) -> bytes | None:
    """The query's bytes, None where the codec doesn't hold them. Every key is named."""
    inside = dict.fromkeys(STEP_KEYS, "") | {k: v for k, v in query.items() if k in STEP_KEYS}
    beside = {key: text for key, text in query.items() if key in REQUEST_KEYS}
    try:
        return identifier(beside, inside, codec=codec, charset=declared)
    except UnicodeEncodeError:
        return None


def _rounds(both: Both, seed: int, count: int, sets: Any) -> Iterator[tuple[Any, ...]]:
    queries = Queries(seed, list(both.steps.values()))
    choice = random.Random(seed)
    done = 0
    while done < count:
        query = queries.query()
        declared, codec = choice.choice(sets)
        asked = _identifier(query, declared, codec)
        if asked is not None:
            done += 1
            yield query, declared, asked


def _told(query: dict[str, str], declared: str) -> str:
    return f"{query} in {declared or 'no character set'}"


def test_with_the_filter_the_answers_are_those_of_the_standard(both: Both) -> None:
    with RawScanner(both.filtered.dicom_port, "NOBODY") as scanner:
        for query, declared, asked in _rounds(both, 1, 3000, EXACTLY_READ):
            found = scanner.find(asked)
            answered = set(found.step_ids)
            assert found.status == 0
            must = {step for step, values in both.steps.items() if surely(query, values)}
            may = {step for step, values in both.steps.items() if perhaps(query, values)}
            assert must <= answered, f"{must - answered} missing: {_told(query, declared)}"
            assert answered <= may, f"{answered - may} too many: {_told(query, declared)}"


def test_without_the_filter_no_answer_is_one_too_many(both: Both) -> None:
    missing = asked_for = 0
    with RawScanner(both.unfiltered.dicom_port, "NOBODY") as scanner:
        for query, declared, asked in _rounds(both, 2, 3000, EXACTLY_READ):
            found = scanner.find(asked)
            answered = set(found.step_ids)
            must = {step for step, values in both.steps.items() if surely(query, values)}
            may = {step for step, values in both.steps.items() if perhaps(query, values)}
            assert answered <= may, f"{answered - may} too many: {_told(query, declared)}"
            missing += len(must - answered)
            asked_for += len(must)
    assert missing < asked_for


@pytest.mark.parametrize("filtered", [True, False], ids=["filter", "no filter"])
def test_no_answer_is_without_its_step_in_any_character_set(both: Both, filtered: bool) -> None:
    orthanc = both.filtered if filtered else both.unfiltered
    answers = 0
    with RawScanner(orthanc.dicom_port, " CT1") as scanner:
        for query, declared, asked in _rounds(both, 3, 3000, CHARACTER_SETS):
            found = scanner.find(asked)
            assert len(found.step_ids) == len(found.answers), _told(query, declared)
            assert found.status in (0, 0xC000), _told(query, declared)
            assert not filtered or found.status == 0, _told(query, declared)
            answers += len(found.answers)
    assert answers


# --- what was sent is found again ----------------------------------------------------------

SENT = (
    "PatientName",
    "PatientID",
    "AccessionNumber",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestingPhysician",
)
SENT_INSIDE = (
    "ScheduledPerformingPhysicianName",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepID",
    "ScheduledStationName",
    "ScheduledProcedureStepLocation",
    "Modality",
    STATION,
    DATE,
    TIME,
)
SCRIPTS = (
    ("Hélène", "Lefèvre", "Tête"),
    ("Алексей", "Смирнов", "Рентген грудной клетки"),
    ("太郎", "山田", "頭部"),
    ("فاطمة", "الحسن", "الرأس"),
    ("Thị Ánh", "Nguyễn", "Chụp đầu"),
    ("សុខា", "ចាន់", "ក្បាល"),
    ("길동", "홍", "두부~|"),
    ("สมชาย", "ใจดี", "ศีรษะ"),
)


def _again(answer: Dataset, key: str) -> bytes:
    """The query of a scanner that asks for exactly what it was sent of a key."""
    declared = ["" if part is None else str(part) for part in _several(answer.SpecificCharacterSet)]
    step = answer.ScheduledProcedureStepSequence[0]
    source = step if key in SENT_INSIDE else answer
    value = source.get_item(key).value or b""
    raw = value if isinstance(value, bytes) else str(value).encode("ascii")
    asked = element(tag_of(key), dictionary_VR(tag_of(key)), raw.strip())
    wanted = element(tag_of("ScheduledProcedureStepID"), "SH", b"")
    inside = asked if key in SENT_INSIDE else b""
    if key != "ScheduledProcedureStepID":
        inside = _in_order([inside, wanted])
    sequence = element(tag_of("ScheduledProcedureStepSequence"), "SQ", _item(inside))
    parts = [element(0x00080005, "CS", "\\".join(declared).encode()), sequence]
    if key not in SENT_INSIDE:
        parts.append(asked)
    return _in_order(parts)


def _several(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)


def _in_order(elements: list[bytes]) -> bytes:
    """Elements by their tags."""

    def tag(encoded: bytes) -> tuple[int, ...]:
        return struct.unpack("<HH", encoded[:4]) if encoded else ()

    ordered: list[bytes] = sorted(elements, key=tag)
    return b"".join(ordered)


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


@pytest.mark.parametrize("encoding", sorted(CODECS))
def test_what_a_scanner_was_sent_it_finds_again_in_every_encoding(
    openmrs: Standin, start_orthanc: Start, encoding: str
) -> None:
    for at, (given, family, text) in enumerate(SCRIPTS):
        patient = openmrs.records.add_patient(given, family)
        fields = StepFields("CT", "CT1", "20250703", "090000", text, family, text, text)
        openmrs.records.add_request(
            patient, accession=f"{at}-{text}", description=text, physician=family, steps=[fields]
        )
    stations = {"OLD": {"Charset": "ascii"}, "RU": {"Charset": "cyrillic"}}
    orthanc = start_orthanc(
        {"Stations": stations}, DefaultEncoding=encoding, LuaScripts=[str(FILTER)]
    )
    offered(orthanc, len(SCRIPTS))
    everything = identifier(dict.fromkeys(SENT, ""), dict.fromkeys(SENT_INSIDE, ""))
    for caller in ("CT1", "OLD", "RU"):
        with RawScanner(orthanc.dicom_port, caller) as scanner:
            answers = scanner.find(everything).answers
            assert len(answers) == len(SCRIPTS)
            for answer in answers:
                step = str(answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID)
                for key in (*SENT, *SENT_INSIDE):
                    found = scanner.find(_again(answer, key))
                    assert step in found.step_ids, f"{key} of step {step} for {caller}"


# --- the filter's traps --------------------------------------------------------------------


def _ask(orthanc: ScratchOrthanc, asked: bytes, caller: str = "CT1") -> Answered:
    with RawScanner(orthanc.dicom_port, caller) as scanner:
        return scanner.find(asked)


def _keywords(answered: Answered) -> list[list[str]]:
    return [[element.keyword for element in answer.iterall()] for answer in answered.answers]


@pytest.mark.parametrize(
    ("asked", "steps", "why"),
    [
        (identifier({"PregnancyStatus": "0"}, {}), 16, "a number"),
        (identifier({"PregnancyStatus": "4", "PatientWeight": ""}, {}), 16, "a number"),
        (identifier({"ReferencedStudySequence": None}, {"Modality": "US"}), 2, "no item"),
        (identifier({}, {"ScheduledProtocolCodeSequence": "P5"}), 16, "an item"),
        (identifier({}, empty_sequence=True), 16, "an open step"),
        (identifier({}, {}), 16, "an open step"),
        (
            identifier(
                {"StudyInstanceUID": "1.2.3.1\\1.2.3.2"}, {"Modality": ""}, charset="ISO_IR 13"
            ),
            4,
            "a list where the backslash is a yen",
        ),
        (
            identifier({"PatientName": "王*"}, {}, codec="gb18030", charset="GB18030"),
            2,
            "another character set",
        ),
        (
            identifier({"PatientName": "=王*"}, {}, codec="iso2022_jp", charset="\\ISO 2022 IR 87"),
            2,
            "code extensions",
        ),
        (
            identifier({"PatientName": "Großmann^*"}, {}, codec="iso8859-1", charset=""),
            2,
            "no character set named",
        ),
        (identifier({}, {DATE: "*"}), 16, "a pattern of dates"),
        (identifier({}, {DATE: "2025*"}), 0, "a pattern of dates"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_filter_hands_over_whatever_a_scanner_may_send(
    both: Both, asked: bytes, steps: int, why: str
) -> None:
    found = _ask(both.filtered, asked)
    assert found.status == 0, why
    assert len(found.answers) == len(found.step_ids) == steps, why


@pytest.mark.parametrize(
    "asked",
    [
        identifier(dict.fromkeys(REQUEST_KEYS, ""), dict.fromkeys(STEP_KEYS, "")),
        identifier(dict.fromkeys(("PatientName", "AdmissionID", "InstitutionName"), ""), {}),
        identifier({"PatientName": "", "ReferencedStudySequence": None}, empty_sequence=True),
        identifier({"PregnancyStatus": "4"}, {"Modality": "", "PreMedication": ""}),
        identifier({"RequestedProcedureCodeSequence": "P5", "PatientID": "*"}, {"Modality": "*"}),
        identifier({"TextValue": "", "PatientID": ""}, {"Modality": ""}),
    ],
    ids=["all", "others", "open", "number", "code", "letter"],
)
def test_an_answer_has_the_same_keys_with_and_without_the_filter(both: Both, asked: bytes) -> None:
    with_it, without = (_ask(orthanc, asked) for orthanc in (both.filtered, both.unfiltered))
    assert len(with_it.answers) == 16
    assert _keywords(with_it) == _keywords(without)
    assert with_it.answers == without.answers


def test_a_scanner_can_forge_nothing(both: Both) -> None:
    letter = 'x {"0040,0100": [{"0008,0060": "US"}]}'
    for orthanc in (both.filtered, both.unfiltered):
        found = _ask(
            orthanc,
            identifier({"TextValue": letter}, {"Modality": "MR", "ScheduledProcedureStepID": ""}),
        )
        assert {both.steps[step]["Modality"] for step in found.step_ids} == {"MR"}
        assert all(not answer.get("TextValue") for answer in found.answers)


OTHER_SCRIPT = """
function IncomingWorklistRequestFilter(query, origin)
  query['0040,0100'][1]['0008,0060'] = 'MR'  -- this site's only scanner
  return query
end
"""


def test_other_lua_scripts_keep_their_say_and_the_plugin_its_answers(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, steps=[StepFields("CT"), StepFields("MR")])
    other = tmp_path / "other.lua"
    other.write_text(OTHER_SCRIPT)
    asked = identifier({"PatientName": ""}, {"Modality": "", "ScheduledProcedureStepID": ""})
    for name, scripts in (("before", [other, FILTER]), ("after", [FILTER, other])):
        orthanc = start_orthanc(name=name, LuaScripts=[str(script) for script in scripts])
        offered(orthanc, 2)
        assert _ask(orthanc, asked).step_ids == ["2"], name
