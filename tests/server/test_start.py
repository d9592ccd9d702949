"""A configuration that can't work stops Orthanc, with one line that says what to do."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from standin import Standin
from tests.server.conftest import module_keys
from trial.orthanc import ScratchOrthanc, StartFailed


@pytest.fixture(scope="module")
def keys() -> Iterator[dict[str, Any]]:
    """The four keys, for a start that doesn't come as far as OpenMRS."""
    with Standin("v2") as server:
        yield module_keys(server)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"ImagingWorklistURL": None},
            "ImagingWorklistURL: is null, expected text",
        ),
        (
            {"ImagingUpdateRequestStatus": 7},
            "ImagingUpdateRequestStatus: is a number, expected text",
        ),
        ({"OpenMRS": {"Timeout": "ten"}}, "OpenMRS.Timeout: is text, expected a number"),
        ({"OpenMRS": {"Tiemout": 10}}, "OpenMRS.Tiemout: is not a key of this plugin"),
        ({"Worklists": {"Enable": True}}, "Worklists.Enable: is true"),
    ],
)
def test_wrong_key_stops_the_start_with_one_clear_line(
    keys: dict[str, Any], tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(StartFailed) as failure, ScratchOrthanc(tmp_path, {**keys, **changes}):
        pass
    told = [text for text in failure.value.log.splitlines() if "OpenMRS: " in text]
    assert len(told) == 1
    assert "the plugin can't start: " + line in told[0]
    assert "Imaging123" not in failure.value.log


def test_missing_url_stops_the_start(keys: dict[str, Any], tmp_path: Path) -> None:
    without = {key: value for key, value in keys.items() if key != "ImagingWorklistURL"}
    with pytest.raises(StartFailed) as failure, ScratchOrthanc(tmp_path, without):
        pass
    assert "ImagingWorklistURL: is missing" in failure.value.log


def test_every_name_of_the_stub_is_in_the_real_module(tmp_path: Path) -> None:
    stub = ast.parse(Path("typings/orthanc.pyi").read_text())
    names = [node.name for node in stub.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    names += [
        f"{node.name}.{field.target.id}"
        for node in stub.body
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]
    assert "RegisterWorklistCallback" in names
    assert "ChangeType.STABLE_STUDY" in names
    script = tmp_path / "names.py"
    script.write_text(
        "import operator, orthanc\n"
        f"for name in {names!r}:\n"
        "    operator.attrgetter(name)(orthanc)\n"
        "orthanc.LogWarning('every name is there')\n"
    )
    with ScratchOrthanc(tmp_path / "names", script=script) as orthanc:
        assert "every name is there" in orthanc.log
