"""The checks of how a query reaches the plugin."""

from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.doctor.queries import FILTER, lua_filter, workers
from tests.unit.doctor.cases import case, told

OURS = FILTER.read_text()
OTHER = "function IncomingWorklistRequestFilter(query, origin)\n  return query\nend\n"
QUIET = "-- function IncomingWorklistRequestFilter: see elsewhere\nfunction OnStableStudy()\nend\n"


@pytest.mark.parametrize(
    ("scripts", "line"),
    [
        ([], "warning LuaScripts: has no orthancWorklist.lua"),
        ([("quiet.lua", QUIET)], "warning LuaScripts: has no orthancWorklist.lua"),
        ([("other.lua", OTHER)], "warning LuaScripts: has no orthancWorklist.lua"),
        ([("orthancWorklist.lua", OURS)], "ok LuaScripts: orthancWorklist.lua hands"),
        (
            [("other.lua", OTHER), ("orthancWorklist.lua", OURS), ("quiet.lua", QUIET)],
            "ok LuaScripts: orthancWorklist.lua hands",
        ),
        (
            [("orthancWorklist.lua", OURS), ("other.lua", OTHER)],
            "warning LuaScripts: other.lua comes behind orthancWorklist.lua",
        ),
        (
            [("orthancWorklist.lua", OURS + "-- older\n")],
            "warning LuaScripts: {folder}/orthancWorklist.lua is of another version",
        ),
        ([("gone.lua", "")], "error LuaScripts: the user {user} can't read {folder}/gone.lua"),
    ],
)
def test_the_filter_is_looked_for(
    tmp_path: Path, scripts: list[tuple[str, str]], line: str
) -> None:
    for name, text in scripts:
        if text:
            (tmp_path / name).write_text(text)
    made = case(tmp_path, LuaScripts=[name for name, _ in scripts])
    expected = line.format(folder=tmp_path, user=made.known_user.name)
    (found,) = told(lua_filter(made))
    assert found.startswith(expected)


def test_the_filter_of_the_plugins_own_folder_is_known_by_its_whole_path(tmp_path: Path) -> None:
    (found,) = told(lua_filter(case(tmp_path, LuaScripts=[str(FILTER)])))
    assert found.startswith("ok LuaScripts")


@pytest.mark.parametrize("value", [None, "orthancWorklist.lua", [1], {}])
def test_a_list_that_is_none_is_no_filter(tmp_path: Path, value: Any) -> None:
    (found,) = told(lua_filter(case(tmp_path, LuaScripts=value)))
    assert found.startswith("warning LuaScripts: has no")


SCANNERS = {f"CT{n}": [f"CT{n}", "192.0.2.7", 104] for n in range(6)}


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ({}, ["ok DicomThreadsCount: is 4, for 0 scanners that are known"]),
        ({"DicomThreadsCount": 8}, ["ok DicomThreadsCount: is 8, for 0 scanners that are known"]),
        ({"DicomThreadsCount": 1}, ["warning DicomThreadsCount: is 1, for 0 scanners: as many"]),
        ({"DicomModalities": SCANNERS}, ["warning DicomThreadsCount: is 4, for 6 scanners: as"]),
        (
            {"DicomModalities": SCANNERS, "DicomThreadsCount": 7},
            ["ok DicomThreadsCount: is 7, for 6 scanners that are known"],
        ),
        ({"DicomThreadsCount": "4"}, []),
    ],
)
def test_there_are_workers_for_all_scanners(
    tmp_path: Path, keys: dict[str, Any], lines: list[str]
) -> None:
    found = told(workers(case(tmp_path, **keys)))
    assert len(found) == len(lines)
    assert all(one.startswith(line) for one, line in zip(found, lines, strict=True))
