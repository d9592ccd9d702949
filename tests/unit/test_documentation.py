"""The documents say what the code does: tables, defaults, examples, links."""

import ast
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword

from orthanc_openmrs.completion.acquisitions import NO_ACQUISITION
from orthanc_openmrs.completion.evidence import SHORTEST_CUT
from orthanc_openmrs.completion.study import LOOKED_AT
from orthanc_openmrs.config import SCHEMA, SECTION, Settings, read_settings
from orthanc_openmrs.events import KEPT, EventKind
from orthanc_openmrs.mapping.candidates import Evidence
from orthanc_openmrs.mapping.finder import MOST_STUDIES
from orthanc_openmrs.mapping.likeness import LONGEST_NAME, MOST_WORDS
from orthanc_openmrs.mapping.mapping import MOST_RANKED
from orthanc_openmrs.mapping.search import LONGEST_SEARCH
from orthanc_openmrs.model import Kind, NotificationState, StepStatus
from orthanc_openmrs.mpps import attributes as mpps
from orthanc_openmrs.openmrs.imaging_list import MAX_STEPS
from orthanc_openmrs.rest.events import LONGEST_WAIT
from orthanc_openmrs.rest.messages import CODES, OTHER_CODES, REASONS
from orthanc_openmrs.rest.router import LARGEST_BODY
from orthanc_openmrs.rest.schemas import LARGEST_PAGE
from orthanc_openmrs.rest.studies import (
    MOST_CANDIDATES,
    MOST_PATIENTS,
    SHORTEST_SEARCH,
    USUAL_CANDIDATES,
)
from orthanc_openmrs.rest.worklist import FILTERS
from orthanc_openmrs.worklist.attributes import ATTRIBUTES, Attribute, Level
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.matching import Caller, attribute_test, rules
from orthanc_openmrs.worklist.query import MAX_KEY_TEXT, Key, Query
from orthanc_openmrs.worklist.service import REMEMBERED_QUERIES, REMEMBERED_QUERY_SIZE
from tests.candidates import SEED, measure
from tests.people import clinic
from tests.unit.builders import ALICE, BOB, TODAY, item, items, request, step
from tests.unit.rest.application import FAILED, HELD, PENDING, REPORT, Application

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
    ]
)


def read(name: str) -> str:
    """The text of a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def tables(text: str) -> Iterator[list[list[str]]]:
    """The tables of a document, as rows of cells, the head first."""
    for block in re.findall(r"(?:^ *\|.*\n?)+", text, re.MULTILINE):
        rows = [
            [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            for line in block.splitlines()
        ]
        yield [row for row in rows if set("".join(row)) - set("|-: ")]


def table(text: str, head: str) -> list[list[str]]:
    """The rows below a head, from every table that has it."""
    return [row for rows in tables(text) if " | ".join(rows[0]) == head for row in rows[1:]]


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {title!r}"
    return found[1]


# --- docs/conformance.md -------------------------------------------------------------------

CONFORMANCE = "docs/conformance.md"
KEYS = "keyword | tag | VR | level | matching | type | value"
REQUIRED = {
    # PS3.4 Table K.6-1, matching key type R
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "Modality",
    "ScheduledPerformingPhysicianName",
    "PatientName",
    "PatientID",
}


def key_rows() -> dict[str, list[str]]:
    """The key table, by keyword."""
    rows = table(read(CONFORMANCE), KEYS)
    found = {row[0]: row for row in rows}
    assert len(found) == len(rows), "a keyword stands twice"
    return found


def test_the_key_table_has_every_attribute_in_the_same_order_and_no_other() -> None:
    assert list(key_rows()) == [row.keyword for row in ATTRIBUTES]


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda attribute: attribute.keyword)
def test_a_key_is_documented_as_it_is(attribute: Attribute) -> None:
    _, tag, vr, level, matching, type_, value = key_rows()[attribute.keyword]
    assert tag == f"({attribute.tag >> 16:04X},{attribute.tag & 0xFFFF:04X})"
    assert (vr, level, type_) == (attribute.vr, attribute.level.value, attribute.type)
    assert (value == "always zero length") is not attribute.known
    required, _, ways = matching.partition(": ")
    assert required == ("R" if attribute.keyword in REQUIRED else "O")
    assert ways == ", ".join(ways_of(attribute))


def ways_of(attribute: Attribute) -> list[str]:
    """How a key is matched, as the code does it."""
    if not attribute.known:
        return ["universal only" if restricts(attribute) else "never restricts"]
    wildcard = attribute_test(attribute.vr, "A*")("AB")
    between = attribute_test(attribute.vr, "100000-300000")("200000")
    several = attribute_test(attribute.vr, "A\\B")("B")
    return [
        "single",
        *(["wildcard"] if wildcard else []),
        *(["range"] if between else []),
        *(["list"] if several else []),
        "universal",
    ]


def restricts(attribute: Attribute) -> bool:
    """Whether a value that a query asks of a key keeps a step from it."""
    universal = attribute.vr != "SQ"
    key = Key(attribute.tag, attribute.keyword, attribute.vr, "1", universal=universal)
    inside = attribute.level is Level.STEP
    query = Query(() if inside else (key,), (key,) if inside else ())
    asked = rules(query, Caller("CT1"), lambda offset: TODAY)
    return not all(rule.passes(item()) for rule in asked)


def test_what_the_conformance_statement_puts_into_an_empty_value_is_what_is_put_there() -> None:
    told = {
        keyword: text
        for keywords, text in table(read(CONFORMANCE), "key | what the answer has")
        for keyword in keywords.split(", ")
    }
    assert told.pop("all others") == "zero length"
    always = {row.keyword for row in ATTRIBUTES if row.type == "1"}
    described = {"RequestedProcedureDescription", "ScheduledProcedureStepDescription"}
    assert set(told) == always | described
    nothing = {keyword: made[keyword] for keyword, made in WITHOUT.items()}
    assert told["ScheduledProcedureStepStartDate"].startswith("today")
    assert nothing["ScheduledProcedureStepStartDate"] == TODAY
    name = "ScheduledProcedureStepStartTime"
    assert nothing[name] == told[name]
    assert nothing["ScheduledStationAETitle"] == ""  # the station's, when it is answered
    assert nothing["StudyInstanceUID"].startswith("2.25.")
    left_out = {keyword for keyword, text in told.items() if text == "the step is left out"}
    assert left_out == {keyword for keyword, made in WITHOUT.items() if not made.offered}


WITHOUT: dict[str, WorklistItem] = {
    # Each type-1 key, and a step for which OpenMRS has no value of it.
    "ScheduledStationAETitle": item(scheduled_station_ae_title=""),
    "ScheduledProcedureStepStartDate": item(start_date=""),
    "ScheduledProcedureStepStartTime": item(start_time=""),
    "Modality": item(modality=""),
    "ScheduledProcedureStepID": items(request("7", step("")))[0],
    "RequestedProcedureID": items(request(""))[0],
    "StudyInstanceUID": items(request(study_instance_uid=""))[0],
    "PatientName": items(request(patient_name=""))[0],
    "PatientID": items(request(patient_id=""))[0],
}


def test_every_type_1_key_is_tried_without_a_value() -> None:
    assert set(WITHOUT) == {row.keyword for row in ATTRIBUTES if row.type == "1"}


@pytest.mark.parametrize(
    "words",
    [
        f"first {MAX_KEY_TEXT} characters",
        f"more than {REMEMBERED_QUERY_SIZE // 1024} KiB",
        f"| {MAX_STEPS}; a request with more",
        f"cut at any length from {SHORTEST_CUT} characters on",
        f"up to {LOOKED_AT} instances",
        ", ".join(sorted(NO_ACQUISITION)),
    ],
)
def test_limits_are_told_as_they_are(words: str) -> None:
    assert words in read(CONFORMANCE)


# --- docs/performance.md -------------------------------------------------------------------


def test_the_figures_stand_where_the_next_run_replaces_them() -> None:
    before, figures, after = read("docs/performance.md").split("<!-- bench -->")
    assert "One scanner: times in ms" in figures
    assert not after.strip()
    assert f"the {REMEMBERED_QUERIES} last ones" in before


def test_the_attributes_of_mpps_are_documented_as_they_are() -> None:
    def told(attributes: Iterable[mpps.Attribute], level: str = "") -> Iterator[list[str]]:
        for one in attributes:
            tag = tag_for_keyword(one.keyword)
            assert tag is not None
            yield [
                level + one.keyword,
                f"({tag >> 16:04X},{tag & 0xFFFF:04X})",
                one.at_create,
                "yes" if one.may_set else "no",
                one.at_end,
            ]
            yield from told(one.inside, f"{level}> ")

    head = "attribute | tag | N-CREATE type | N-SET | final state type"
    assert list(table(read("docs/conformance.md"), head)) == list(told(mpps.ATTRIBUTES))


# --- docs/rest.md --------------------------------------------------------------------------

REST = "docs/rest.md"


@pytest.fixture(scope="module")
def app() -> Application:
    """The routes over a list and three notifications."""
    found = Application()
    found.tells(PENDING, FAILED, HELD)
    found.reports_an_exam()
    found.send("POST", "/notifications/2/retry")
    return found


def test_every_route_has_its_row_and_its_section_and_no_other_has(app: Application) -> None:
    documented = [row[0] for row in table(read(REST), "method and path | answer")]
    routes = [f"{route.method} {route.path}" for route in app.router.routes]
    assert sorted(documented) == sorted(routes)
    titles = re.findall(r"^## ([A-Z]+ /.*)$", read(REST), re.MULTILINE)
    assert titles == documented


def test_every_route_has_a_curl_example_that_reaches_it(app: Application) -> None:
    for route in app.router.routes:
        text = section(read(REST), f"{route.method} {route.path}").replace("\\\n", " ")
        commands = re.findall(r"^ {4}(curl .*)$", text, re.MULTILINE)
        assert commands, route.path
        for command in commands:
            method = re.search(r"-X (\w+)", command)
            path = re.search(r"http://127\.0\.0\.1:8042([^\s\"?]*)", command)
            assert (method[1] if method else "GET") == route.method, command
            assert path, command
            assert route.pattern.fullmatch(path[1]), command


@pytest.mark.parametrize(
    ("title", "path", "query"),
    [
        ("GET /openmrs/status", "/status", {}),
        ("GET /openmrs/worklist", "/worklist", {}),
        ("GET /openmrs/worklist/{step}", "/worklist/1", {"aet": "MR1"}),
        ("POST /openmrs/worklist/refresh", "/worklist/refresh", {}),
        ("GET /openmrs/notifications", "/notifications", {}),
        ("GET /openmrs/notifications/{id}", "/notifications/2", {}),
        ("GET /openmrs/patients", "/patients", {"search": "doe"}),
        ("GET /openmrs/patients/{uuid}/studies", f"/patients/{ALICE}/studies", {}),
        ("GET /openmrs/patients/{uuid}/candidates", f"/patients/{BOB}/candidates", {}),
        ("GET /openmrs/studies", "/studies", {"assigned": "true"}),
        ("GET /openmrs/procedures", "/procedures", {"state": "COMPLETED"}),
    ],
)
def test_an_example_has_the_fields_of_the_answer(
    app: Application, title: str, path: str, query: dict[str, str]
) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", section(read(REST), title), re.DOTALL)
    response = app.ask(path, title.split()[0], **query)
    assert response.status == 200
    assert shape(json.loads(example)) == shape(json.loads(response.body))


def shape(document: Any) -> Any:
    """A document by its keys, in their order; of a list, its first element."""
    if isinstance(document, dict):
        return [(key, shape(part)) for key, part in document.items()]
    if isinstance(document, list) and document and not isinstance(document[0], str):
        return [shape(document[0])]
    return None


def test_every_error_is_documented_and_its_example_is_one(app: Application) -> None:
    errors = section(read(REST), "Errors")
    told = {int(row[0]) for row in table(errors, "status | when")}
    assert told == {*REASONS, 401}  # 401 is Orthanc's
    codes = {row[0].strip("`"): row[1] for row in table(errors, "code | status | when")}
    assert codes.keys() == {*CODES.values(), *OTHER_CODES, "openmrs-…"}
    assert all(codes[code] == str(status) for status, code in CODES.items())
    example = json.loads(errors[errors.index("{") : errors.index("}") + 1])
    assert example == json.loads(app.ask("/worklist", limit="0").body)
    assert f"more than {LARGEST_BODY} bytes" in errors
    assert f"{LARGEST_PAGE} elements" in errors


def test_every_argument_and_every_word_for_a_state_is_documented(app: Application) -> None:
    listed = section(read(REST), "GET /openmrs/worklist")
    refused = json.loads(app.ask("/worklist", x="1").body)["Details"]
    assert arguments(listed) == set(refused.removeprefix("arguments are: ").split(", "))
    assert arguments(listed) > set(FILTERS)
    assert all(f"`{status}`" in listed for status in StepStatus)
    studies = section(read(REST), "GET /openmrs/studies")
    refused = json.loads(app.ask("/studies", x="1").body)["Details"]
    assert arguments(studies) == set(refused.removeprefix("arguments are: ").split(", "))
    patients = section(read(REST), "GET /openmrs/patients")
    refused = json.loads(app.ask("/patients", x="1").body)["Details"]
    assert arguments(patients) == set(refused.removeprefix("arguments are: ").split(", "))
    assert f"from {SHORTEST_SEARCH} to {LONGEST_SEARCH} characters" in patients
    assert f"{USUAL_CANDIDATES} if it isn't given, {MOST_PATIENTS} at most" in patients
    assert f"Up to {MOST_STUDIES:,} studies" in studies
    events = section(read(REST), "GET /openmrs/events")
    refused = json.loads(app.ask("/events", x="1").body)["Details"]
    assert arguments(events) == set(refused.removeprefix("arguments are: ").split(", "))
    kinds = [row[0].strip("`") for row in table(events, "kind | `ID` and `State`")]
    assert kinds == [kind.value for kind in EventKind]
    assert f"{LONGEST_WAIT} at most" in events
    assert f"The last {KEPT:,} are kept" in events
    told = section(read(REST), "GET /openmrs/notifications")
    refused = json.loads(app.ask("/notifications", x="1").body)["Details"]
    assert arguments(told) == set(refused.removeprefix("arguments are: ").split(", "))
    states = [row[0].strip("`") for row in table(told, "state | meaning")]
    assert states == [state.value for state in NotificationState]
    assert all(f"`{kind}`" in told for kind in Kind)


def arguments(text: str) -> set[str]:
    """The arguments in a section's table."""
    rows = table(text, "argument | meaning")
    return {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}


def test_the_body_of_a_report_is_the_documented_one(app: Application) -> None:
    text = section(read(REST), "POST /openmrs/studies/{study}/report")
    (body,) = re.findall(r"^ {4}(\{.*\})$", text, re.MULTILINE)
    assert set(json.loads(body)) == set(json.loads(REPORT))


# --- docs/candidates.md --------------------------------------------------------------------

CANDIDATES_DOCUMENT = "docs/candidates.md"


def test_the_policy_is_documented_as_it_is() -> None:
    rows = table(read(CANDIDATES_DOCUMENT), "what is found | points")
    assert rows == [[one.words, str(one.points)] for one in Evidence]
    example = section(read(REST), "GET /openmrs/patients/{uuid}/candidates")
    (found,) = re.findall(r"```json\n(.*?)```", example, re.DOTALL)
    (candidate,) = json.loads(found)
    points = {one.words: one.points for one in Evidence}
    assert candidate["Score"] == sum(points[words] for words in candidate["Reasons"])
    told = section(read(CANDIDATES_DOCUMENT), "The policy")
    assert f"up to {LONGEST_NAME} characters and {MOST_WORDS} words" in told
    assert f"up to {MOST_RANKED:,} of them" in read(CANDIDATES_DOCUMENT)
    assert f"{USUAL_CANDIDATES} if it isn't given, {MOST_CANDIDATES} at most" in example


def test_made_up_people_are_found_as_well_as_it_is_told() -> None:
    """Not more than two of a hundred less: the figures themselves, `tests.candidates` tells."""
    text = read(CANDIDATES_DOCUMENT)
    found = measure(clinic(SEED))
    told = {row[0]: float(row[1]) for row in table(text, "the right study is | share")}
    assert found.first > told["first"] - 0.02
    assert found.first_three > told["among the first three"] - 0.02
    rows = table(text, "score at least | precision | recall")
    assert len(rows) == len(found.at_scores)
    for row, at in zip(rows, found.at_scores, strict=True):
        assert at.score == int(row[0])
        assert at.precision > float(row[1]) - 0.02
        assert at.recall > float(row[2]) - 0.02
    shares = table(text, "of these | the right study is first")
    assert {row[0] for row in shares} == {*found.by_culture, *found.by_kind}
    assert told["first"] > 0.9


# --- docs/operation.md ---------------------------------------------------------------------


def test_log_lines_worth_an_alert_are_words_of_the_code() -> None:
    rows = table(read("docs/operation.md"), "words | what it is | what to do")
    assert len(rows) > 5
    said = "\n".join(texts())
    for words, _, advice in rows:
        assert words in said, f"nothing says: {words}"
        entry = re.fullmatch(r"runbook (\d+)", advice)
        if entry:
            assert f"### {entry[1]}. " in read("docs/operation.md")


def texts() -> Iterator[str]:
    """The texts in the plugin's code, without its docstrings."""
    package = ROOT / "orthanc_openmrs"
    for path in package.rglob("*.py"):
        if path.is_relative_to(package / "doctor"):
            continue  # it says what is wrong, but doesn't log it
        tree = ast.parse(path.read_text())
        bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in bare:
                yield str(node.value)


# --- docs/configuration.md and the examples ------------------------------------------------

CONFIGURATION = "docs/configuration.md"
ROOT_KEYS = set(SCHEMA["properties"]) - {"OpenMRS"}


def documented_keys(head: str) -> list[tuple[str, str]]:
    """Each key of a table with its further cells; several keys may share a row, and then its
    defaults stand in the same order."""
    found: list[tuple[str, str]] = []
    for keys, *cells in table(read(CONFIGURATION), head):
        names = keys.split(", ")
        defaults = cells[0].split(", ") if len(names) > 1 and ", " in cells[0] else []
        for at, name in enumerate(names):
            found.append((name, defaults[at] if defaults else cells[0]))
    return found


def test_every_key_is_documented_and_no_other() -> None:
    section_keys = [name for name, _ in documented_keys("key | default | meaning")]
    assert section_keys == list(SECTION["properties"])
    root_keys = [name for keys, _ in rows_of("key | meaning") for name in keys.split(", ")]
    assert set(root_keys) == ROOT_KEYS
    assert len(root_keys) == len(ROOT_KEYS) == 4
    required = {keys for keys, meaning in rows_of("key | meaning") if "required" in meaning}
    assert required == set(SCHEMA["required"])


def rows_of(head: str) -> Iterable[tuple[str, str]]:
    """The rows of a table of two columns in docs/configuration.md."""
    return [(row[0], row[1]) for row in table(read(CONFIGURATION), head)]


@pytest.mark.parametrize(("key", "schema"), SECTION["properties"].items())
def test_a_key_is_documented_with_its_default(key: str, schema: dict[str, Any]) -> None:
    default = dict(documented_keys("key | default | meaning"))[key]
    if "default" in schema:
        assert json.loads(default) == schema["default"]
    else:
        assert re.fullmatch(r"[a-z].*", default), "in words: it isn't a value"
        assert default not in ("true", "false", "null")


def test_every_key_of_a_station_is_documented_and_its_example_is_accepted() -> None:
    (row,) = [
        row for row in table(read(CONFIGURATION), "key | default | meaning") if "CT1" in row[2]
    ]
    (example,) = re.findall(r"`(\{.*\})`", row[2])
    stations = json.loads(example)
    station = SECTION["properties"]["Stations"]["additionalProperties"]
    assert set(stations["CT1"]) == set(station["properties"])
    assert settings({**FOUR, "OpenMRS": {"Stations": stations}}).stations["CT1"].days_ahead == 30


@pytest.mark.parametrize("key", ["MPPS", "Orders", "Webhook"])
def test_every_key_of_a_section_is_documented_with_its_default(key: str) -> None:
    properties = SECTION["properties"][key]["properties"]
    rows = {
        row[0]: row[1:]
        for row in table(read(CONFIGURATION), f"{key} key | its default | its meaning")
    }
    assert list(rows) == list(properties)
    for own, schema in properties.items():
        default, meaning = rows[own]
        if "default" in schema:
            assert json.loads(default) == schema["default"]
        assert all(f'"{word}"' in meaning for word in schema.get("enum", ()))


def test_every_word_that_a_key_may_have_is_documented() -> None:
    meanings = {
        name: f"{row[1]} {row[2]}"
        for row in table(read(CONFIGURATION), "key | default | meaning")
        for name in row[0].split(", ")
    }
    for key, schema in SECTION["properties"].items():
        words = schema.get("enum") or schema.get("items", {}).get("enum", [])
        assert all(f'"{word}"' in meanings[key] for word in words), key


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_writes_a_key_in_its_own_form_only(path: Path) -> None:
    stations = SECTION["properties"]["Stations"]["additionalProperties"]["properties"]
    keys = {*SECTION["properties"], *ROOT_KEYS, *stations}
    of_several_words = {key.casefold(): key for key in keys if re.search("[a-z][A-Z]", key)}
    text = path.read_text(encoding="utf-8")
    for word in re.findall(r"\b[A-Za-z]+\b", text):
        assert of_several_words.get(word.casefold(), word) == word
    for word in re.findall(r"\bOpenMRS\.([A-Z]\w+)", text):
        assert word in SECTION["properties"], f"OpenMRS.{word}"


FOUR = {
    "ImagingWorklistURL": "http://emr/openmrs/ws/rest/v1/worklist/requests",
    "ImagingUpdateRequestStatus": "http://emr/openmrs/ws/rest/v1/worklist/updaterequeststatus",
}


def settings(configuration: dict[str, Any]) -> Settings:
    """What the plugin makes of a configuration."""
    return read_settings(configuration, ROOT)


def example(name: str) -> dict[str, Any]:
    """One of the example files, without comments, as Orthanc reads it."""
    text = re.sub(r"/\*.*?\*/", "", read(name), flags=re.DOTALL)
    text = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_example_files_together_are_a_configuration_without_warnings() -> None:
    python, orthanc = example("python.json.example"), example("orthanc.json.example")
    assert not set(python) & set(orthanc), "Orthanc takes a key from one file only"
    assert set(python) >= ROOT_KEYS
    found = settings(orthanc | python)
    assert found.warnings == ()
    assert found.worklist_url.endswith("/worklist/requests")
    assert found.rest_url.endswith("/ws/rest/v1")


# --- links ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """The headings of a document, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_test_that_guards_an_invariant_exists() -> None:
    rows = table(read("docs/architecture.md"), "what holds | why | guarded by")
    assert rows
    for what, _, guard in rows:
        files = re.findall(r"`([^`]+\.py)`", guard)
        assert files, what
        assert all((ROOT / name).is_file() for name in files), guard


def test_every_test_of_the_threat_model_exists() -> None:
    rows = table(read("docs/security.md"), "who tries | what | what stops it | test")
    assert len(rows) > 30
    for *threat, guard in rows:
        name = re.fullmatch(r"`(tests/[^`:]+\.py)::(\w+)`", guard)
        assert name, threat
        assert f"def {name[2]}(" in read(name[1]), guard
    for name in re.findall(r"`(tests/[^`]+)`", read("docs/security.md")):
        path, _, function = name.partition("::")
        assert f"def {function}(" in read(path), name


def test_every_dependency_and_its_bounds_are_justified() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["postgresql"], *extras["doctor"]]
    bounds = {}
    for line in needed:
        found = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+),<(\d+)", line)
        assert found, f"{line}: has a lower and an upper bound"
        bounds[found[1]] = (found[2], found[3])
    told = {
        name.removesuffix(" (extra)"): (lower, upper)
        for name, _, lower, upper in table(
            read("docs/development.md"), "dependency | why | lower bound | upper bound"
        )
    }
    assert told.keys() == bounds.keys()
    for name, (lower, upper) in bounds.items():
        assert re.match(rf"{re.escape(lower)}([,:] |$)", told[name][0]), name
        assert told[name][1].startswith(f"{upper}: "), name


def test_every_script_is_in_the_list_of_scripts() -> None:
    told = {
        row[0].strip("`")
        for row in table(read("docs/development.md"), "script | what it does | how long")
    }
    there = {f"script/{path.name}" for path in (ROOT / "script").iterdir() if path.is_file()}
    assert told == there


def test_the_commands_of_the_documents_are_there() -> None:
    for path in DOCUMENTS:
        for name in re.findall(r"(?<![\w/])script/[a-z-]+", path.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_every_module_of_the_architecture_exists() -> None:
    package = ROOT / "orthanc_openmrs"
    for where, *_ in table(read("docs/architecture.md"), "where | what it decides | kind"):
        folder = package
        for name in re.findall(r"`([^`]+)`", where):
            at = next(
                (base / name for base in (folder, package, ROOT) if (base / name).exists()), None
            )
            assert at is not None, name
            folder = at if at.is_dir() else at.parent


def test_keywords_in_the_documents_are_dicoms() -> None:
    text = read(CONFORMANCE)
    for word in re.findall(r"\b(?:Scheduled|Requested|Performed|Patient|Referring)[A-Z]\w+", text):
        assert tag_for_keyword(word), word
