"""One interpreter a process."""

import os

import pytest

from orthanc_openmrs.host import process
from tests.unit.doubles import OrthancModule


@pytest.mark.parametrize(
    ("mark", "second"),
    [(None, False), ("1", False), (str(os.getpid()), True)],
    ids=["no mark", "another process's", "its own"],
)
def test_only_the_same_process_is_told_from_the_first(
    monkeypatch: pytest.MonkeyPatch, mark: str | None, second: bool
) -> None:
    monkeypatch.setenv(process.MARK, mark or "")
    assert process.is_second_interpreter() is second
    assert process.is_second_interpreter()


def test_the_first_interpreter_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process.MARK, "")
    orthanc = OrthancModule()
    process.begin(orthanc)
    assert orthanc.lines == []
