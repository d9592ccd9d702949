"""Orthanc's configuration is read as Orthanc reads it, and a fault is found where it is."""

import json
import os
from pathlib import Path

import pytest

from orthanc_openmrs.doctor.configuration import (
    Unreadable,
    read_configuration,
    read_configurations,
)
from tests.configuration_files import ENVIRONMENT, FILES, REFUSED, VALUES


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.mark.parametrize(("written", "value"), VALUES.values(), ids=VALUES)
def test_a_value_is_read_as_orthanc_reads_it(tmp_path: Path, written: str, value: object) -> None:
    write(tmp_path, {"a.json": f'{{"Before": 1, "Key": {written}, "After": 2}}'.encode()})
    read = read_configuration(tmp_path / "a.json", ENVIRONMENT)
    assert read.values == {"Before": 1, "Key": value, "After": 2}
    assert read.folder == tmp_path


@pytest.mark.parametrize(("files", "value"), FILES.values(), ids=FILES)
def test_the_files_of_a_folder_are_those_that_orthanc_reads(
    tmp_path: Path, files: dict[str, bytes], value: object
) -> None:
    read = read_configuration(write(tmp_path, {"a.json": b'{"A": 1}', **files}), {})
    assert read.values == {"A": 1, **({"Key": value} if value else {})}
    assert read.folder == tmp_path
    assert len(read.files) == 1 + bool(value)


@pytest.mark.parametrize(("files", "where"), REFUSED.values(), ids=REFUSED)
def test_a_fault_is_told_with_file_line_and_column(
    tmp_path: Path, files: dict[str, bytes], where: str
) -> None:
    with pytest.raises(Unreadable) as caught:
        read_configuration(write(tmp_path, files), {})
    assert caught.value.where == str(tmp_path / where)
    assert caught.value.meaning
    assert caught.value.advice


def test_a_section_in_two_files_is_told_with_both(tmp_path: Path) -> None:
    write(tmp_path, {"a.json": b'{"DicomWeb": {}}', "b.json": b'{"X": 1, "DicomWeb": {}}'})
    with pytest.raises(Unreadable, match=r'b\.json: has the section "DicomWeb", which a\.json has'):
        read_configuration(tmp_path, {})


def test_variables_that_are_not_set_are_named_with_the_keys_that_need_them(
    tmp_path: Path,
) -> None:
    text = """
        // "${COMMENT}", and "${A}"
        {"A": "${B}${A}${C:-}${SET}", "Other": {"Deep": ["x${A}"] /* ${COMMENT} */},
         "Marks": "\ue000A\ue001"}
    """
    write(tmp_path, {"a.json": text.encode()})
    read = read_configuration(tmp_path, ENVIRONMENT)
    assert read.unset == {"A": ("A", "Other"), "B": ("A",)}
    assert read.values["A"] == "here"
    assert read.values["Marks"] == "\ue000A\ue001"


def test_several_paths_are_one_configuration_as_for_orthanc_1_13(tmp_path: Path) -> None:
    files = {"one/a.json": b'{"A": 1}', "one/b.json": b'{"B": 2}', "two/c.json": b'{"C": 3}'}
    write(tmp_path, files)
    paths = [tmp_path / "one", tmp_path / "two" / "c.json"]
    read = read_configurations(paths, {})
    assert read.values == {"A": 1, "B": 2, "C": 3}
    assert read.folder == tmp_path / "one"
    write(tmp_path, {"two/c.json": b'{"B": 3}'})
    with pytest.raises(Unreadable, match=r'c\.json: has the section "B", which b\.json has too'):
        read_configurations(paths, {})


def test_a_key_that_stands_twice_is_named_and_the_last_one_counts(tmp_path: Path) -> None:
    text = '{"PythonScript": "/a.py", "Other": {"A": 1, "A": 2}, "PythonScript": "/b.py"}'
    write(tmp_path, {"a.json": text.encode()})
    read = read_configuration(tmp_path, {})
    assert read.twice == {"PythonScript": tmp_path / "a.json"}
    assert read.values["PythonScript"] == "/b.py"


def test_two_scripts_in_two_files_are_told_how_to_be_one(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys(("a.json", "b.json"), b'{"PythonScript": "/a.py"}'))
    with pytest.raises(Unreadable, match='has the section "PythonScript"') as caught:
        read_configuration(tmp_path, {})
    assert "let it start the other" in caught.value.advice


@pytest.mark.parametrize(
    ("name", "meaning"),
    [("nothing.json", "can't be read: no such file or directory"), ("", r"has no file \*.json")],
)
def test_what_is_no_configuration_is_told(tmp_path: Path, name: str, meaning: str) -> None:
    with pytest.raises(Unreadable, match=meaning):
        read_configuration(tmp_path / name, {})


def test_what_may_not_be_read_asks_for_sudo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, os.strerror(13))

    write(tmp_path, {"a.json": b"{}"})
    monkeypatch.setattr(Path, "read_bytes", refuse)  # root, who tests, may read everything
    with pytest.raises(Unreadable, match="can't be read by you") as caught:
        read_configuration(tmp_path, {})
    assert "sudo" in caught.value.advice


def test_the_projects_own_examples_are_read() -> None:
    root = Path(__file__).resolve().parents[3]
    variables = {"ORTHANC_USERS": json.dumps({"a": "b"})}
    for name in ("python.json.example", "orthanc.json.example", "docker/orthanc.json"):
        assert len(read_configuration(root / name, variables).values) > 5, name


def test_a_long_configuration_is_read_in_no_time(tmp_path: Path) -> None:
    """Patterns with comments in them are easily made that take years."""
    text = '{"A": [1, ' + "/* , */ // ,\n 2, " * 20_000 + "]}"
    write(tmp_path, {"a.json": text.encode()})
    assert len(read_configuration(tmp_path, {}).values["A"]) == 20_001
