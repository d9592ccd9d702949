"""The plugin as a whole, in an Orthanc and with an OpenMRS that are doubles: how it starts,
what it does, what it writes into the log, how it ends."""

import json
import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from orthanc_openmrs import __version__, plugin
from orthanc_openmrs.errors import PluginError, WorklistUnavailable
from orthanc_openmrs.host import logs
from orthanc_openmrs.store.database import Database
from tests.unit.builders import ALICE, identifier, within
from tests.unit.doubles import (
    PATIENCE,
    ChangeTypes,
    Find,
    OrthancModule,
    Output,
    Server,
    answer,
    serving,
)
from trial.waiting import eventually

MARK = "Zyxwvut"
"""A name that may be in no line of the log."""

SECRET = "wörd-of-mallory"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the plugin changes of the process is put back."""
    logger = logging.getLogger(logs.LOGGER)
    log = (logger.handlers, logger.level, logger.propagate)
    interval = sys.getswitchinterval()
    monkeypatch.setattr(plugin, "_on_change", None)
    monkeypatch.setattr(plugin, "_kept", [])
    monkeypatch.delenv("TCP_NODELAY", raising=False)
    yield
    logger.handlers, logger.level, logger.propagate = log
    sys.setswitchinterval(interval)


def orthanc_in(folder: Path, url: str = NOWHERE, **changes: Any) -> OrthancModule:
    """An Orthanc whose configuration lies in a folder."""
    configuration = {
        "ImagingWorklistURL": f"{url}/openmrs/ws/rest/v1/worklist/requests",
        "ImagingUpdateRequestStatus": f"{url}/openmrs/ws/rest/v1/worklist/updaterequeststatus",
        "ImagingWorklistUsername": "orthanc",
        "ImagingWorklistPassword": SECRET,
        "DefaultEncoding": "Utf8",
        "StorageDirectory": "db",
    }
    routes = {"/changes?last": {"Changes": [], "Done": True, "Last": 0}}
    routes["/changes?since=0&limit=1000"] = routes["/changes?last"]
    path = folder / "orthanc.json"
    path.touch()
    return OrthancModule(routes, configuration=configuration | changes, path=str(path))


_before: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def what_ran_before() -> None:
    """Threads of other tests in this process, of which some outlive them."""
    _before.clear()
    _before.update(threading.enumerate())


def threads() -> list[str]:
    """The plugin's threads that run."""
    running = set(threading.enumerate()) - _before
    return sorted(one.name for one in running if one.name.startswith("openmrs-"))


def errors(orthanc: OrthancModule) -> list[str]:
    """The errors in the log."""
    return [line for level, line in orthanc.lines if level == "error"]


def ask(orthanc: OrthancModule, path: str, method: str = "GET", body: bytes = b"") -> Output:
    """A REST request."""
    output = Output()
    orthanc.on_request(output, f"/openmrs{path}", method=method, get={}, headers={}, body=body)
    return output


@pytest.fixture
def stopping() -> Iterator[list[plugin.Plugin]]:
    """Plugins that are stopped when the test is over."""
    started: list[plugin.Plugin] = []
    yield started
    for one in started:
        one.stop()


# --- the start -----------------------------------------------------------------------------


@pytest.mark.parametrize("buttons", [True, False])
def test_orthanc_explorer_has_buttons_unless_they_are_off(
    tmp_path: Path, stopping: list[plugin.Plugin], buttons: bool
) -> None:
    orthanc = orthanc_in(tmp_path, OpenMRS={"ExplorerButtons": buttons})
    stopping.append(plugin.start(orthanc))
    assert ("../openmrs/ui/" in orthanc.explorer) is buttons
    assert ask(orthanc, "/ui").status == 200


@pytest.mark.parametrize("register_on_change", [True, False])
def test_a_start_registers_the_callbacks_and_says_so(
    tmp_path: Path, stopping: list[plugin.Plugin], register_on_change: bool
) -> None:
    orthanc = orthanc_in(tmp_path)
    stopping.append(plugin.start(orthanc, register_on_change=register_on_change))
    changes = ["change"] * register_on_change
    assert orthanc.done == ["worklist", "rest /openmrs(/.*)?", *changes]
    assert (
        "warning",
        f"OpenMRS: orthanc-openmrs {__version__} serves the worklist of OpenMRS",
    ) in (orthanc.lines)
    assert (tmp_path / "db" / "openmrs.db").exists()
    reading = ["openmrs-count", "openmrs-names", "openmrs-refresh"]
    assert threads() == reading, "studies wait until Orthanc has started"
    assert os.environ["TCP_NODELAY"] == "1"


def newer(folder: Path) -> None:
    """A database that a newer version wrote."""
    (folder / "db").mkdir()
    path = folder / "db" / "openmrs.db"
    database = Database(f"sqlite:///{path}")
    database.open()
    database.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("insert into schema_version values (99)")


@pytest.mark.parametrize(
    ("changes", "prepare", "words"),
    [
        ({"ImagingWorklistURL": 7}, None, "ImagingWorklistURL"),
        ({"ImagingUpdateRequestStatus": ""}, None, "ImagingUpdateRequestStatus"),
        ({"ImagingWorklistPassword": [SECRET]}, None, "ImagingWorklistPassword"),
        ({"OpenMRS": {"Timeout": SECRET}}, None, "OpenMRS.Timeout"),
        ({"OpenMRS": {"Tiemout": 7}}, None, "OpenMRS.Tiemout"),
        ({"OpenMRS": {"CACertificates": "none.pem"}}, None, "OpenMRS.CACertificates"),
        ({"Worklists": {"Enable": True}}, None, "Worklists.Enable"),
        ({}, newer, "version 99"),
    ],
)
def test_what_cant_be_used_stops_the_start_with_one_line(
    tmp_path: Path, changes: dict[str, Any], prepare: Callable[[Path], None] | None, words: str
) -> None:
    if prepare:
        prepare(tmp_path)
    orthanc = orthanc_in(tmp_path, **changes)
    with pytest.raises(PluginError) as caught:
        plugin.start(orthanc)
    assert words in str(caught.value)
    assert [level for level, _ in orthanc.lines] == ["error"]
    ((_, line),) = orthanc.lines
    assert words in line
    assert len(line.splitlines()) == 1
    assert SECRET not in line
    assert orthanc.done == []
    assert threads() == []
    assert caught.value.__cause__ is None
    plugin.on_change(ChangeTypes.STABLE_STUDY, 1, "s")  # another script's change is no harm


def test_a_broken_database_doesnt_keep_the_worklist_from_the_scanners(
    tmp_path: Path, stopping: list[plugin.Plugin]
) -> None:
    (tmp_path / "db").write_text("a file where the folder should be")
    with serving() as server:
        server.play = openmrs(server)
        orthanc = orthanc_in(tmp_path, server.url)
        stopping.append(plugin.start(orthanc))
        assert ask(orthanc, "/worklist/refresh", "POST").status == 200
        find = Find(identifier({"PatientName": ""}, {}))
        orthanc.on_worklist(find, find, "CT1", "ORTHANC")
        assert len(find.answered) == 1
        orthanc.on_change(ChangeTypes.STABLE_STUDY, 1, "s")
        status = json.loads(ask(orthanc, "/status").body)
        assert "database" in status["Notifications"]["Error"]
        assert ask(orthanc, "/notifications").status == 503
    assert all("database" in line or "not kept" in line for line in errors(orthanc))
    assert any("change 9 of s is not noted" in line for line in errors(orthanc))


# --- the whole way -------------------------------------------------------------------------


def openmrs(server: Server, hangs: threading.Event | None = None) -> Any:
    """An Imaging module with one step, until it was completed."""
    step = {"ScheduledProcedureStepID": "14", "Modality": "CT", "ScheduledStationAETitle": "CT1"}
    request = {
        "RequestedProcedureID": "7",
        "AccessionNumber": "ACC-7",
        "PatientID": ALICE,
        "PatientName": f"Alice {MARK}",
        "PatientBirthDate": "1990-01-01",
        "ScheduledProcedureStepSequence": [step],
    }
    bad = {"PatientName": [MARK], "ScheduledProcedureStepSequence": MARK}

    def play(handler: BaseHTTPRequestHandler) -> None:
        if hangs:
            hangs.set()
            server.over.wait(PATIENCE)
        path = urlsplit(handler.path).path
        if path.endswith("/requests"):
            answer(handler, json.dumps([request, bad, MARK]).encode())
        elif path.endswith("/updaterequeststatus"):
            if len([one for one in server.asked if one.path == path]) == 1:
                answer(handler, f"<html>{MARK}</html>".encode(), 500)
                return
            step["PerformedProcedureStepStatus"] = "completed"
            answer(handler, b'{"score": 1}')
        else:
            answer(handler, b"", 404)

    return play


def has_study(orthanc: OrthancModule) -> None:
    """Alice's CT came."""
    main = {"StudyInstanceUID": "1.2.3", "AccessionNumber": "ACC-7", "StudyDescription": MARK}
    patient = {"PatientID": ALICE, "PatientName": f"{MARK}^Alice", "PatientBirthDate": "19900101"}
    series = {"SeriesInstanceUID": "1.2.3.1", "Modality": "CT"}
    orthanc.routes |= {
        "/studies/s": {"ID": "s", "MainDicomTags": main, "PatientMainDicomTags": patient},
        "/studies/s/series": [{"Instances": ["i"], "MainDicomTags": series}],
        "/instances/i/simplified-tags": {"PatientName": f"{MARK}^Alice"},
        "/tools/lookup 1.2.3": [{"ID": "s", "Type": "Study"}],
        "/studies/odd": RuntimeError("odd"),
    }


@pytest.mark.parametrize("chained", [False, True])
def test_from_the_list_to_the_completed_step_and_no_name_in_the_log(
    tmp_path: Path, stopping: list[plugin.Plugin], chained: bool
) -> None:
    with serving() as server:
        server.play = openmrs(server)
        orthanc = orthanc_in(tmp_path, server.url)
        started = plugin.start(orthanc, register_on_change=not chained)
        stopping.append(started)
        on_change = plugin.on_change if chained else orthanc.on_change
        assert (orthanc.on_change is None) is chained
        on_change(ChangeTypes.ORTHANC_STARTED, 4, "")
        assert len(threads()) == 17

        assert json.loads(ask(orthanc, "/worklist/refresh", "POST").body)["Offered"] == 1
        find = Find(identifier({"PatientName": f"{MARK}*"}, {"ScheduledStationAETitle": "CT1"}))
        orthanc.on_worklist(find, find, "CT1", "ORTHANC")
        assert len(find.answered) == 1
        assert MARK.encode() in find.answered[0]
        for spoilt in (b"@\0\0\1SQ\0\0\xff\xff\xff\xff", b"(\0\x10\0US\7\0"):
            odd = Find(spoilt + MARK.encode())
            with pytest.raises(ValueError, match="no DICOM dataset"):
                orthanc.on_worklist(odd, odd, "CT1", "ORTHANC")

        has_study(orthanc)
        on_change(ChangeTypes.NEW_SERIES, 2, "series")
        on_change(ChangeTypes.STABLE_STUDY, 1, "odd")
        on_change(ChangeTypes.STABLE_STUDY, 1, "s")
        orthanc.until_logged("study s is of step 14 of request 7")
        orthanc.until_logged("notification 1 waits")
        ask(orthanc, "/notifications/1/retry", "POST")
        orthanc.until_logged("OpenMRS has step 14 as completed")

        (told,) = json.loads(ask(orthanc, "/notifications").body)
        assert (told["State"], told["Attempts"]) == ("delivered", 2)
        assert ask(orthanc, "/notifications/1/retry", "POST").status == 409
        body = b'{"ScheduledProcedureStepID": "14"}'
        assert ask(orthanc, "/studies/1.2.3/report", "POST", body).status == 409
        assert ask(orthanc, f"/worklist/{MARK}").status == 404
        assert ask(orthanc, "/worklist/refresh", "POST").status == 200
        assert json.loads(ask(orthanc, "/worklist/14").body)["Status"] == "completed"
        status = json.loads(ask(orthanc, "/status").body)
        assert (status["OpenMRS"]["Reachable"], status["OpenMRS"]["Generation"]) == (True, "v2")
        # The counts are as of a moment ago: the status waits for no database.
        eventually(
            lambda: json.loads(ask(orthanc, "/status").body)["Notifications"]["Delivered"] == 1,
            "the status doesn't know of the delivery",
        )
        on_change(ChangeTypes.ORTHANC_STOPPED, 4, "")
    personal = [MARK, "Alice", ALICE, "1990", SECRET]
    lines = [line for _, line in orthanc.lines]
    assert [line for line in lines if any(text in line for text in personal)] == []


def test_the_kept_list_is_served_after_a_restart_with_openmrs_down(
    tmp_path: Path, stopping: list[plugin.Plugin]
) -> None:
    find = Find(identifier({"PatientName": ""}, {}))
    orthanc = orthanc_in(tmp_path)
    stopping.append(plugin.start(orthanc))
    with pytest.raises(WorklistUnavailable):
        orthanc.on_worklist(find, find, "CT1", "ORTHANC")
    with serving() as server:
        server.play = openmrs(server)
        orthanc = orthanc_in(tmp_path, server.url)
        first = plugin.start(orthanc)
        assert ask(orthanc, "/worklist/refresh", "POST").status == 200
        first.stop()
    orthanc = orthanc_in(tmp_path)
    stopping.append(plugin.start(orthanc))
    orthanc.on_worklist(find, find, "CT1", "ORTHANC")
    assert len(find.answered) == 1


def test_a_study_that_was_noted_before_orthanc_ended_is_told_after_the_next_start(
    tmp_path: Path, stopping: list[plugin.Plugin]
) -> None:
    first = plugin.start(orthanc := orthanc_in(tmp_path))
    orthanc.on_change(ChangeTypes.STABLE_STUDY, 1, "s")
    first.stop()
    with serving() as server:
        server.play = openmrs(server)
        orthanc = orthanc_in(tmp_path, server.url)
        has_study(orthanc)
        stopping.append(plugin.start(orthanc))
        orthanc.on_change(ChangeTypes.ORTHANC_STARTED, 4, "")
        orthanc.until_logged("study s is of step 14 of request 7")


# --- the end -------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [False, True])
def test_orthanc_ends_whatever_openmrs_does(tmp_path: Path, hangs: bool) -> None:
    with serving() as server:
        reached = threading.Event()
        server.play = openmrs(server, reached if hangs else None)
        orthanc = orthanc_in(tmp_path, server.url)
        plugin.start(orthanc)
        orthanc.on_change(ChangeTypes.ORTHANC_STARTED, 4, "")
        assert len(threads()) == 17
        if hangs:
            assert reached.wait(PATIENCE)
        started = time.monotonic()
        with within(PATIENCE, "Orthanc ends"):
            orthanc.on_change(ChangeTypes.ORTHANC_STOPPED, 4, "")
        assert time.monotonic() - started < plugin.STOP_TIMEOUT + 1
        # Who was busy a moment longer ends by itself.
        eventually(lambda: threads() == ["openmrs-refresh"] * hangs, f"{threads()} go on")
    for thread in threading.enumerate():
        if thread.name.startswith("openmrs-"):
            thread.join(PATIENCE)


def test_a_change_before_the_start_is_no_harm() -> None:
    plugin.on_change(ChangeTypes.STABLE_STUDY, 1, "s")
