"""The administrator's page: what is served of it, and that its texts are complete."""

import json
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest

from orthanc_openmrs.errors import PROBLEMS
from orthanc_openmrs.mapping.candidates import Evidence
from orthanc_openmrs.model import NotificationState
from orthanc_openmrs.rest.page import HEADERS, START, TYPES
from orthanc_openmrs.ui import EXPLORER, read_explorer_script, read_files
from tests.unit.rest.application import Application

ROOT = Path(__file__).resolve().parents[3]
FILES = read_files()
SCRIPTS = {name: body.decode() for name, body in FILES.items() if name.endswith(".js")}
TEXTS = {
    name.split(".")[1]: json.loads(body)
    for name, body in FILES.items()
    if re.fullmatch(r"texts\.\w+\.json", name)
}
ENGLISH: dict[str, str] = TEXTS["en"]


# --- what is served ------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("below", ["/ui/", "/ui/ui/"])
def test_every_file_is_served_with_its_type_and_with_what_a_browser_may_do(
    name: str, below: str
) -> None:
    response = Application().ask(below + name)
    assert (response.status, response.body) == (200, FILES[name])
    assert response.content_type == TYPES[name.rpartition(".")[2]]
    assert response.headers == HEADERS


@pytest.mark.parametrize("path", ["/ui", "/ui/"])
def test_the_page_is_served_with_and_without_its_last_slash(path: str) -> None:
    response = Application().ask(path)
    assert (response.status, response.body) == (200, FILES[START])
    assert response.content_type.startswith("text/html")


@pytest.mark.parametrize(
    "name",
    ["", "x", "__init__.py", EXPLORER, "..", ".", "PAGE.JS", "page.js.", "%2e%2e", "a/b", "\0"],
)
def test_nothing_else_is_served(name: str) -> None:
    assert Application().ask(f"/ui/ui/{name}").status == 404


def test_nothing_inline_and_nothing_from_elsewhere_is_allowed() -> None:
    rules = dict(
        rule.strip().split(" ", 1) for rule in HEADERS["Content-Security-Policy"].split(";")
    )
    assert rules.pop("default-src") == "'none'"
    assert set(rules.values()) == {"'self'", "'none'"}
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"


def test_the_files_ask_for_files_that_there_are_and_for_nothing_elsewhere() -> None:
    asked = set(re.findall(r'(?:src|href)="ui/([^"]+)"', FILES[START].decode()))
    assert asked == {"page.js", "page.css", "icon.svg"}
    for script in SCRIPTS.values():
        asked |= set(re.findall(r'from "\./([^"]+)"', script))
    assert asked <= set(FILES)
    assert set(SCRIPTS) <= asked, "a script that nobody asks for"
    for name, body in FILES.items():
        elsewhere = set(re.findall(r"\b(?:https?:)?//[a-z][\w.-]+", body.decode()))
        assert elsewhere <= {"http://www.w3.org"}, name  # the name of SVG, no address


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_markup_or_code_of_text(name: str) -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|srcdoc|DOMParser"
    assert not re.search(ways, SCRIPTS[name])


def imports(name: str) -> set[str]:
    """The scripts that a script asks for."""
    return set(re.findall(r'from "\./([^"]+)"', SCRIPTS[name]))


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_leads_back_to_itself_and_none_is_too_long_to_read(name: str) -> None:
    reached, ahead = set[str](), imports(name)
    while ahead:
        reached |= ahead
        ahead = {one for script in ahead for one in imports(script)} - reached
    assert name not in reached
    assert SCRIPTS[name].count("\n") < 300


# --- texts ---------------------------------------------------------------------------------


def test_the_languages_are_those_that_there_are_texts_for() -> None:
    languages = json.loads(FILES["languages.json"])
    assert languages == {code: texts["language"] for code, texts in TEXTS.items()}
    assert {"en", "fr"} <= set(languages)


@pytest.mark.parametrize("code", TEXTS)
def test_a_language_has_every_text_with_the_same_values_in_it(code: str) -> None:
    assert list(TEXTS[code]) == list(ENGLISH)
    for key, text in TEXTS[code].items():
        assert text.strip() == text != "", key
        missing = values(ENGLISH[key]) ^ values(text)
        assert missing <= ({"n"} if key.endswith(".one") else set()), key


def values(text: str) -> set[str]:
    """The names in braces."""
    return set(re.findall(r"{(\w+)}", text))


def said() -> tuple[set[str], set[str]]:
    """The keys that the scripts say, and the beginnings of those that they make."""
    calls = "\n".join(SCRIPTS.values())
    # Every text that looks like a key, wherever it stands: t(a ? "x.y" : "x.z"), ["x.y", …].
    whole = set(re.findall(r'"([a-z]+(?:[.-][A-Za-z-]+)*)"', calls))
    whole |= set(re.findall(r'"((?:key)\.\w+)"', calls))
    made = set(re.findall(r"`([a-z]+(?:\.[a-z]+)*\.)\$\{", calls))
    return whole, made - {"texts."}  # the name of a file


def test_every_text_is_used_and_every_key_has_its_text() -> None:
    whole, made = said()
    known = {re.sub(r"\.(one|other)$", "", key) for key in ENGLISH} | set(ENGLISH)
    unused = [
        key
        for key in ENGLISH
        if key != "language"
        and key not in whole
        and re.sub(r"\.(one|other)$", "", key) not in whole
        and not key.startswith(tuple(made))
    ]
    assert unused == []
    called = set()
    for script in SCRIPTS.values():
        called |= set(re.findall(r'\bt\("([^"]+)"', script))
        for choice in re.findall(r'\bt\([^()"`]+\? ("[^"]+" : "[^"]+")', script):
            called |= set(re.findall(r'"([^"]+)"', choice))
    assert called - known == set()
    assert all(any(key.startswith(start) for key in ENGLISH) for start in made)


@pytest.mark.parametrize(
    "key",
    [
        *(f"problem.{kind}{way}" for kind in PROBLEMS for way in ("", ".do")),
        *(f"finding.{one.code}" for one in Evidence),
        *(f"{start}.{state}" for state in NotificationState for start in ("state", "state.one")),
        *(f"told.{start}.{state}" for state in NotificationState for start in ("means", "none")),
    ],
)
def test_what_the_api_says_in_one_word_has_its_words(key: str) -> None:
    assert key in ENGLISH


def test_plurals_come_in_both_forms() -> None:
    for key in ENGLISH:
        if key.endswith(".one") and not key.startswith("state.one") and key != "step.one":
            assert key.removesuffix("one") + "other" in ENGLISH or key == "told.one", key


# --- Orthanc Explorer ----------------------------------------------------------------------


def test_what_extends_orthanc_explorer_is_ascii_and_closed_in_itself() -> None:
    script = read_explorer_script()
    assert script.isascii()
    code = re.sub(r"^//.*\n", "", script)
    assert code.startswith("(function () {")
    assert code.rstrip().endswith("})();")


def test_the_button_for_explorer_2_leads_to_a_studys_place_in_the_page() -> None:
    text = (ROOT / "docs" / "page.md").read_text(encoding="utf-8")
    lines = [line[6:] for line in text.splitlines() if line.startswith("      ")]
    configuration = json.loads("{" + "\n".join(lines) + "}")
    (button,) = configuration["OrthancExplorer2"]["UiOptions"]["CustomButtons"]["study"]
    assert button["HttpMethod"] == "GET"
    address = urljoin("http://orthanc/prefix/ui/app/index.html", button["Url"])
    assert address == "http://orthanc/prefix/openmrs/ui/#studies?study={UUID}"
    assert 'parameters.get("study")' in SCRIPTS["studies.js"]


def test_the_page_is_shipped_with_the_package() -> None:
    folder = ROOT / "orthanc_openmrs" / "ui"
    found = {path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".py"}
    assert found == set(FILES) - {"languages.json"} | {EXPLORER}
