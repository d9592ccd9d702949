"""The findings on a terminal."""

import json
from pathlib import Path

import pytest

from orthanc_openmrs.doctor.command import as_json, as_text, main
from orthanc_openmrs.doctor.findings import error, ok, warning

BAD = error("first", "is bad", "mend it")


def test_findings_are_shown_as_text_and_as_json() -> None:
    found = [ok("a", "is well"), warning("b", "is odd", "look"), BAD]
    assert as_text(found).splitlines() == [
        "ok       a: is well",
        "warning  b: is odd",
        "         -> look",
        "error    first: is bad",
        "         -> mend it",
        "",
        "1 error, 1 warning",
    ]
    assert as_text(found[:1]).endswith("\nall is well")
    document = json.loads(as_json(found))
    assert document["State"] == "error"
    assert document["Findings"][1] == {
        "State": "warning",
        "Subject": "b",
        "Meaning": "is odd",
        "Advice": "look",
    }


def test_the_command_ends_with_2_where_nothing_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"error    {tmp_path}: has no file *.json"
    assert lines[-1] == "1 error, 1 warning"
    assert main(["doctor", "--json", str(tmp_path)]) == 2
    assert json.loads(capsys.readouterr().out)["State"] == "error"


@pytest.mark.parametrize("arguments", [[], ["doctor", "--user", "no such user"]])
def test_a_wrong_command_line_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python3 -m orthanc_openmrs" in capsys.readouterr().err
