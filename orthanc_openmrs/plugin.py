"""Composition: reads the configuration, builds every part by hand, registers, starts, stops.

Importing it has no effect. `start` is called by `orthancWorklist.py`, or by another
PythonScript, which may chain `on_change` to a callback of its own.
"""

import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from orthanc_openmrs import __version__
from orthanc_openmrs.completion.changes import ChangeReader
from orthanc_openmrs.completion.decisions import Decisions
from orthanc_openmrs.completion.dispatcher import Dispatcher
from orthanc_openmrs.completion.linker import Linker
from orthanc_openmrs.completion.linking import Policy
from orthanc_openmrs.completion.sender import Sender
from orthanc_openmrs.completion.study import read_study
from orthanc_openmrs.config import Settings, read_settings
from orthanc_openmrs.doctor.configuration import Reading
from orthanc_openmrs.doctor.inside import Doctor
from orthanc_openmrs.errors import PluginError, StoreError
from orthanc_openmrs.host import guards, logs
from orthanc_openmrs.host.api import ChangeCallback, Orthanc
from orthanc_openmrs.host.studies import OrthancStudies
from orthanc_openmrs.mapping.mapping import PatientMapping
from orthanc_openmrs.mapping.patients import Patients
from orthanc_openmrs.mapping.synchroniser import Synchroniser
from orthanc_openmrs.metrics import Backlog, BacklogWatch, Metrics, Tally
from orthanc_openmrs.openmrs.transport import OpenMRSClient
from orthanc_openmrs.rest.notifications import NotificationRoutes
from orthanc_openmrs.rest.openapi import with_document
from orthanc_openmrs.rest.page import PageRoutes
from orthanc_openmrs.rest.router import Router
from orthanc_openmrs.rest.status import StatusRoutes
from orthanc_openmrs.rest.studies import StudyRoutes
from orthanc_openmrs.rest.worklist import WorklistRoutes
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.engine import SchemaTooNew
from orthanc_openmrs.ui import read_explorer_script, read_files
from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.person_names import NameBook
from orthanc_openmrs.worklist.refresh import Refresher
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot

_log = logging.getLogger(__name__)

STOP_TIMEOUT = 0.5
"""Seconds that the threads are given to end, in all, when Orthanc stops."""


class _Part(Protocol):
    """What runs in threads of its own."""

    def tell_to_stop(self) -> None: ...
    def join(self, deadline: float) -> None: ...


class Plugin:
    """The parts, and what Orthanc's changes mean to them."""

    def __init__(self, host: Orthanc, settings: Settings) -> None:
        self._change_type = host.ChangeType
        self._resource_type = host.ResourceType
        self._client = OpenMRSClient.of(settings)
        self._database = Database(settings.database)
        self._open_database()
        self.worklist = Worklist(
            StationRules(settings.stations, settings.own_steps_only, settings.codec),
            max_staleness=settings.max_staleness,
        )
        verbatim = settings.person_names == "verbatim"
        normalise = values.verbatim_name if verbatim else values.split_name
        self._book: NameBook | None = None
        if settings.person_names == "lookup":
            self._book = NameBook(self._client, self._database, normalise)
        self._refresher = Refresher(
            self._client,
            self.worklist,
            self._database,
            interval=settings.refresh_interval,
            names=self._book.names if self._book else _always(PersonNames(normalise)),
            on_snapshot=self._look_up_names,
        )
        self.tally = Tally()
        self._watch = BacklogWatch(
            lambda: Backlog(self._database.notification_counts(), self._database.oldest_pending())
        )
        self._metrics = Metrics(
            guards.push_metric(host),
            worklist=self.worklist,
            source_status=lambda: self._refresher.status,
            failed_reads=lambda: self._refresher.failed_reads,
            backlog=self._watch.last,
            tally=self.tally,
            clock=time.time,
        )
        get = guards.core_rest(host)
        studies = OrthancStudies(host)
        mapping = PatientMapping(
            studies=studies,
            records=self._database,
            metadata=settings.patient_metadata,
            later=self._check_mapping,
            clock=time.time,
        )
        self._mapping = mapping
        self._synchroniser = Synchroniser(mapping)
        self._sender = Sender(
            outcomes=self._database,
            lists=self._refresher,
            updates=self._client,
            report_in_progress=settings.report_in_progress,
        )
        self._dispatcher = Dispatcher(
            outbox=self._database, deliver=self._sender.deliver, clock=time.time
        )
        self._linker = Linker(
            noted=self._database,
            read_study=lambda study: read_study(get, study),
            snapshot=lambda: self.worklist.snapshot,
            lists=self._refresher,
            policy=Policy(settings.link_by, settings.hold_patient_mismatch),
            in_progress=self._sender.reports_in_progress,
            on_link=self._linked,
            on_decisions=self._dispatcher.wake,
            clock=time.time,
        )
        self._changes = ChangeReader(
            get=get,
            store=self._database,
            stable_age=settings.stable_age,
            on_news=self._linker.wake,
            clock=time.time,
        )
        decisions = Decisions(
            records=self._database,
            read_study=lambda study: read_study(get, study),
            snapshot=lambda: self.worklist.snapshot,
            lists=self._refresher,
            list_timeout=2 * settings.timeout,
            keep_delivered=settings.keep_delivered,
            on_decision=self._decided,
            clock=time.time,
        )
        status = StatusRoutes(
            worklist=self.worklist,
            source_status=lambda: self._refresher.status,
            generation=lambda: self._sender.generation,
            backlog=self._watch.asked,
            examine=lambda: self._doctor.findings(),
        )
        worklist = WorklistRoutes(
            worklist=self.worklist,
            read_now=lambda: self._refresher.read_now(2 * settings.timeout),
        )
        notifications = NotificationRoutes(
            decisions=decisions, look_up_study=guards.look_up_study(host)
        )
        patients_studies = StudyRoutes(
            mapping=mapping,
            patients=Patients(
                get_patient=self._client.get_patient,
                snapshot=lambda: self.worklist.snapshot,
                source_status=lambda: self._refresher.status,
                timeout=settings.timeout,
            ),
            notifications=lambda study: self._database.list_notifications(study=study),
            plugins=studies.plugins,
            viewers=settings.viewers,
        )
        nouns = (status, worklist, notifications, patients_studies, PageRoutes(read_files()))
        self.router = Router(with_document(row for noun in nouns for row in noun.table()))
        self._doctor = Doctor(
            read=lambda: _read(host),
            get=get,
            status=status.current,
            snapshot=lambda: self.worklist.snapshot,
        )

    def _open_database(self) -> None:
        """Without its database the plugin still serves the worklist, and tries again; a
        database of a newer version stops the start."""
        try:
            self._database.open()
        except SchemaTooNew:
            raise
        except StoreError as problem:
            _log.error("%s", problem)

    def _check_mapping(self, study: str) -> None:
        self._synchroniser.enqueue(study)

    def _linked(self, study: str) -> None:
        self._synchroniser.enqueue(study)
        self._watch.want()

    def _decided(self, study: str) -> None:
        self._linker.wake()
        self._dispatcher.wake()
        self._linked(study)

    def _look_up_names(self, snapshot: Snapshot) -> None:
        if self._book:
            self._book.want(snapshot.offered)

    def start_reading(self) -> None:
        """Serve the kept list and begin to read OpenMRS's."""
        if self._book:
            self._book.start()
        self._watch.start()
        self._refresher.restore()
        self._refresher.start()

    def on_change(self, change_type: int, level: int, resource: str) -> None:
        """Orthanc's changes: no network here, and no more than one insert."""
        if change_type == self._change_type.STABLE_STUDY:
            self._database.note_study(resource)
            self._linker.wake()
            self._changes.wake()
            self._mapping.forget(resource)
        elif change_type == self._change_type.NEW_SERIES:
            self._changes.wake()
        elif change_type == self._change_type.DELETED:
            if level == self._resource_type.STUDY:
                self._mapping.forget(resource)
                self._synchroniser.enqueue(resource)
        elif change_type == self._change_type.ORTHANC_STARTED:
            self._synchroniser.start()
            self._changes.start()
            self._linker.start()
            self._dispatcher.start()
            self._metrics.start()
        elif change_type == self._change_type.ORTHANC_STOPPED:
            self.stop()

    def stop(self) -> None:
        """End the threads, whatever OpenMRS does."""
        self._client.close()
        parts: list[_Part] = [
            self._doctor,
            self._metrics,
            self._watch,
            self._linker,
            self._dispatcher,
            self._changes,
            self._synchroniser,
            self._refresher,
        ]
        if self._book:
            parts.append(self._book)
        for part in parts:
            part.tell_to_stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        for part in parts:
            part.join(deadline)
        self._database.close()


def _always(names: PersonNames) -> Callable[[], PersonNames]:
    return lambda: names


_on_change: ChangeCallback | None = None
_kept: list[object] = []


def start(host: Orthanc | None = None, *, register_on_change: bool = True) -> Plugin:
    """Start the plugin in this Orthanc.

    `register_on_change=False` leaves Orthanc's only on-change callback to the caller's own
    script, which then calls `on_change`. Raises PluginError, after one line in Orthanc's log,
    where the configuration or the database can't be used; Orthanc doesn't start then.
    """
    global _on_change
    if host is None:
        host = cast(Orthanc, importlib.import_module("orthanc"))
    logs.install(host)
    try:
        settings = _settings(host)
        plugin = Plugin(host, settings)
    except PluginError as problem:
        _log.error("the plugin can't start: %s", problem)
        # The traceback that the Python plugin prints would only bury the line above.
        raise problem.with_traceback(None) from None
    # DCMTK, which is Orthanc's DICOM server, reads it when an association opens, and waits for
    # the client's delayed acknowledgements without it.
    os.environ.setdefault("TCP_NODELAY", "1")
    # While the list is read, a query waits for the interpreter this long at most.
    sys.setswitchinterval(0.001)
    _on_change = guards.change_callback(plugin.on_change)
    on_worklist = guards.worklist_callback(plugin.worklist.answers, plugin.tally.note)
    on_request = guards.rest_callback(plugin.router.respond, decoded=guards.decodes_arguments(host))
    # The Python plugin 5.0 gives callbacks back after the interpreter's end, and crashes where
    # nobody else holds them.
    _kept.extend((guards.register_worklist(host, on_worklist), on_request))
    host.RegisterRestCallback("/openmrs(/.*)?", on_request)
    if settings.explorer_buttons:
        host.ExtendOrthancExplorer(read_explorer_script())
    if register_on_change:
        host.RegisterOnChangeCallback(_on_change)
    plugin.start_reading()
    _log.warning("orthanc-openmrs %s serves the worklist of OpenMRS", __version__)
    return plugin


def on_change(change: int, level: int, resource: str) -> None:
    """To be called from another script's on-change callback, with its own arguments."""
    if _on_change is not None:
        _on_change(change, level, resource)


def _settings(host: Orthanc) -> Settings:
    reading = _read(host)
    settings = read_settings(reading.values, reading.folder)
    for warning in settings.warnings:
        _log.warning("%s", warning)
    return settings


def _read(host: Orthanc) -> Reading:
    path = Path(host.GetConfigurationPath() or ".").resolve()
    folder = path if path.is_dir() else path.parent
    return Reading(json.loads(host.GetConfiguration()), folder)
