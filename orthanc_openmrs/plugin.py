"""Composition: reads the configuration, builds every part by hand, registers, starts, stops.

Importing it has no effect. `start` is called by `orthancWorklist.py`, or by another
PythonScript, which may chain `on_change` to a callback of its own.
"""

import importlib
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from orthanc_openmrs import __version__
from orthanc_openmrs.alerts.conditions import Condition
from orthanc_openmrs.alerts.watch import AlertWatch
from orthanc_openmrs.alerts.webhook import Webhook
from orthanc_openmrs.completion.backlog import Backlog, BacklogWatch
from orthanc_openmrs.completion.changes import ChangeReader
from orthanc_openmrs.completion.decisions import Decisions
from orthanc_openmrs.completion.dispatcher import Dispatcher
from orthanc_openmrs.completion.linker import Linker
from orthanc_openmrs.completion.linking import Policy
from orthanc_openmrs.completion.lists import OrderIndex
from orthanc_openmrs.completion.review import Reviews
from orthanc_openmrs.completion.sender import Sender
from orthanc_openmrs.completion.study import Get, read_study
from orthanc_openmrs.config import Settings, read_settings
from orthanc_openmrs.connection import connect, connect_orders, transport_of
from orthanc_openmrs.dimse.server import Rules, Server
from orthanc_openmrs.doctor.configuration import Reading
from orthanc_openmrs.doctor.inside import Doctor
from orthanc_openmrs.errors import ConfigurationError, PluginError, StoreError
from orthanc_openmrs.events import Change, DecisionNews, EventKind, Events, RowNews, StepNews
from orthanc_openmrs.host import guards, logs
from orthanc_openmrs.host.api import ChangeCallback, Orthanc
from orthanc_openmrs.host.audit import audit_log
from orthanc_openmrs.host.exams import OrthancExams
from orthanc_openmrs.host.identity import SettledMark, has_change, identity_of
from orthanc_openmrs.host.studies import OrthancStudies
from orthanc_openmrs.mapping.finder import Finder
from orthanc_openmrs.mapping.mapping import PatientMapping
from orthanc_openmrs.mapping.patients import Patients
from orthanc_openmrs.mapping.synchroniser import Synchroniser
from orthanc_openmrs.metrics import Metrics, Tally
from orthanc_openmrs.model import (
    Exam,
    Images,
    Notification,
    NotificationState,
    ProcedureRecord,
    ProcedureState,
    Source,
    StepStatus,
    StudySummary,
)
from orthanc_openmrs.mpps.admission import Admission
from orthanc_openmrs.mpps.announcing import Announcer
from orthanc_openmrs.mpps.exams import Exams
from orthanc_openmrs.mpps.meaning import exam, with_performed_steps
from orthanc_openmrs.mpps.provider import Provider, services
from orthanc_openmrs.mpps.settings import tls_context
from orthanc_openmrs.openmrs.client import OpenMRSClient
from orthanc_openmrs.openmrs.generations import recognise
from orthanc_openmrs.openmrs.order_client import OrderClient
from orthanc_openmrs.openmrs.orders import read_orders
from orthanc_openmrs.rest.callers import CallerRoutes
from orthanc_openmrs.rest.dicomweb import DicomWebRoutes
from orthanc_openmrs.rest.events import EventRoutes
from orthanc_openmrs.rest.notifications import NotificationRoutes
from orthanc_openmrs.rest.openapi import with_document
from orthanc_openmrs.rest.page import PageRoutes
from orthanc_openmrs.rest.procedures import ProcedureRoutes
from orthanc_openmrs.rest.router import Router
from orthanc_openmrs.rest.status import OrderReading, StatusRoutes
from orthanc_openmrs.rest.studies import StudyRoutes
from orthanc_openmrs.rest.worklist import WorklistRoutes
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.lists import KeptOrders
from orthanc_openmrs.store.migrations import SchemaTooNew
from orthanc_openmrs.ui import read_explorer_script, read_files
from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.board import Board
from orthanc_openmrs.worklist.callers import CallingAEs
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.name_parts import split_name
from orthanc_openmrs.worklist.orders import requests_of
from orthanc_openmrs.worklist.person_names import NameBook
from orthanc_openmrs.worklist.readers import Readers
from orthanc_openmrs.worklist.refresh import Refresher, SourceStatus
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uid_registry import UidRegistry

_log = logging.getLogger(__name__)

STOP_TIMEOUT = 0.5
"""Seconds that the threads are given to end, in all, when Orthanc stops."""

QUERY_MARK = "ORTHANC_OPENMRS_QUERY_MARK"
"""The environment variable by which `orthancWorklist.lua` in this process, and nobody else, knows
how to mark a query that it hands over."""


class _Part(Protocol):
    """What runs in threads of its own."""

    def tell_to_stop(self) -> None: ...
    def join(self, deadline: float) -> None: ...


# --- the parts, each flow's built of those before it ----------------------------------------


class _Sources(NamedTuple):
    """What all else reads and writes: Orthanc, OpenMRS, the database."""

    host: Orthanc
    settings: Settings
    get: Get
    orthanc: OrthancStudies
    client: OpenMRSClient
    orders: OrderClient | None
    database: Database

    def read_study(self, study: str) -> StudySummary | None:
        """A study as Orthanc has it now, with what its scanner said of its exams. May raise
        StoreError."""
        found = read_study(self.get, study)
        return None if found is None else with_performed_steps(found, self._exams_of(found))

    def exam(self, study: StudySummary, noted_at: float) -> Exam:
        """What its scanner says of the link of a study. May raise StoreError."""
        return exam(
            study,
            self._exams_of(study),
            noted_at=noted_at,
            now=time.time(),
            within=self.settings.procedures.images_within,
        )

    def _exams_of(self, study: StudySummary) -> list[ProcedureRecord]:
        named = {uid for series in study.series for uid in series.performed_step_uids}
        return self.database.procedures_of(study, named)


def _sources(host: Orthanc, settings: Settings) -> _Sources:
    transport = transport_of(settings)
    return _Sources(
        host=host,
        settings=settings,
        get=guards.core_rest(host),
        orthanc=OrthancStudies(host),
        client=connect(settings, transport=transport),
        orders=connect_orders(settings, transport=transport),
        database=_opened(Database(settings.database)),
    )


def _opened(database: Database) -> Database:
    """Without its database the plugin still serves the worklist, and tries again; a database of
    a newer version stops the start."""
    try:
        database.engine.open_within()
    except SchemaTooNew:
        raise
    except StoreError as problem:
        _log.error("%s", problem)
    return database


class _Reading(NamedTuple):
    """refresh and C-FIND: OpenMRS's list → the worklist → scanners."""

    worklist: Worklist
    refresher: Refresher
    orders: Refresher | None
    lists: Readers
    names: NameBook | None
    uids: UidRegistry
    listeners: list[Callable[[Source, Snapshot], None]]
    tally: Tally
    callers: CallingAEs

    @property
    def readers(self) -> list[Refresher]:
        """All that read a list."""
        return [self.refresher, *([self.orders] if self.orders else ())]

    def snapshot(self) -> Snapshot | None:
        """The list that is served."""
        return self.worklist.snapshot

    def listed_generation(self) -> str:
        """The generation of OpenMRS's module as its list tells it, or ""."""
        return self.worklist.snapshot.generation if self.worklist.snapshot else ""

    def status(self) -> SourceStatus:
        """How reading goes."""
        return self.refresher.status


def _query_mark() -> str:
    mark = os.environ[QUERY_MARK] = secrets.token_hex(16)
    return mark


def _reading(sources: _Sources) -> _Reading:
    settings = sources.settings
    verbatim = settings.person_names == "verbatim"
    normalise = values.verbatim_name if verbatim else split_name
    looked_up = settings.person_names == "lookup"
    names = NameBook(sources.client, sources.database, normalise) if looked_up else None
    worklist = Worklist(
        StationRules(
            settings.stations,
            settings.own_steps_only,
            settings.codec,
            settings.case_sensitive_names,
        ),
        max_staleness=settings.max_staleness,
        mark=_query_mark(),
    )
    unchanging = PersonNames(normalise)
    uids = UidRegistry(sources.database)
    listeners: list[Callable[[Source, Snapshot], None]] = []

    def heard(source: Source, snapshot: Snapshot) -> None:
        for listener in listeners:
            listener(source, snapshot)

    board = Board(
        worklist,
        names=names.names if names else lambda: unchanging,
        uids=uids,
        on_snapshot=lambda snapshot: names.want(snapshot.offered) if names else None,
        max_staleness=settings.max_staleness,
    )
    refresher = Refresher(
        sources.client,
        board,
        sources.database,
        interval=settings.refresh_interval,
        on_read=partial(heard, Source.IMAGING),
    )
    orders = _order_reader(sources, board, heard)
    lists = Readers({Source.IMAGING: refresher} | ({Source.ORDERS: orders} if orders else {}))
    return _Reading(
        worklist, refresher, orders, lists, names, uids, listeners, Tally(), CallingAEs(time.time)
    )


def _order_reader(
    sources: _Sources, board: Board, heard: Callable[[Source, Snapshot], None]
) -> Refresher | None:
    settings = sources.settings.orders
    if settings is None or sources.orders is None:
        return None
    return Refresher(
        sources.orders,
        board,
        KeptOrders(sources.database),
        interval=sources.settings.refresh_interval,
        part=Source.ORDERS,
        on_read=partial(heard, Source.ORDERS),
        read=lambda body: requests_of(read_orders(body), settings.rules),
    )


class _Mapping(NamedTuple):
    """mapping: whose a study in Orthanc is."""

    studies: PatientMapping
    finder: Finder
    synchroniser: Synchroniser
    patients: Patients


def _mapping(sources: _Sources, reading: _Reading) -> _Mapping:
    studies = PatientMapping(
        studies=sources.orthanc,
        records=sources.database,
        metadata=sources.settings.patient_metadata,
        later=lambda study: synchroniser.enqueue(study),
        clock=time.time,
    )
    finder = Finder(sources.orthanc, sources.database, clock=time.monotonic)
    synchroniser = Synchroniser(studies)
    patients = Patients(
        get_patient=sources.client.get_patient,
        find_patients=sources.client.find_patients,
        snapshot=reading.snapshot,
        source_status=reading.status,
        timeout=sources.settings.timeout,
    )
    return _Mapping(studies, finder, synchroniser, patients)


class _Completion(NamedTuple):
    """study: Orthanc → the step that it completes → OpenMRS; person: what stands in between."""

    changes: ChangeReader
    linker: Linker
    dispatcher: Dispatcher
    sender: Sender
    reviews: Reviews
    backlog: BacklogWatch
    decisions: Decisions


def _completion(sources: _Sources, reading: _Reading, mapping: _Mapping) -> _Completion:
    settings, database = sources.settings, sources.database

    def count() -> Backlog:
        exams = database.procedure_counts()
        return Backlog(
            database.notification_counts(),
            database.oldest_pending(),
            database.waiting_count(),
            exams.get(ProcedureState.IN_PROGRESS, 0),
            exams.get(Images.MISSING, 0),
        )

    def expire() -> bool:
        before = time.time() - settings.keep_delivered
        return any([database.expire(before), database.expire_procedures(before)])

    backlog = BacklogWatch(count, expire=expire)

    def linked(study: str) -> None:
        mapping.synchroniser.enqueue(study)
        backlog.want()

    def decided(study: str) -> None:
        linker.wake()
        dispatcher.wake()
        linked(study)

    policy = Policy(settings.link_by, settings.hold_patient_mismatch)
    orders = OrderIndex(reading.uids.given, lambda: sender.generation)
    sender = Sender(
        outcomes=database,
        read_study=sources.read_study,
        lists=reading.lists,
        orders=orders,
        updates=sources.client,
        order_updates=sources.orders,
        policy=policy,
        report_in_progress=settings.report_in_progress,
        broken_off=_broken_off(settings),
        on_doubt=lambda: linker.wake(),
    )
    dispatcher = Dispatcher(
        outbox=database, lists=reading.lists, deliver=sender.deliver, clock=time.time
    )
    linker = Linker(
        noted=database,
        read_study=sources.read_study,
        snapshot=reading.snapshot,
        lists=reading.lists,
        orders=orders,
        policy=policy,
        max_staleness=settings.max_staleness,
        in_progress=sender.reports_in_progress,
        last_change=lambda: int(sources.get("/changes?last")["Last"]),
        exam=sources.exam,
        on_link=linked,
        on_decisions=dispatcher.wake,
        clock=time.time,
    )

    def news() -> None:
        linker.wake()
        backlog.want()

    reviews = Reviews(decided=database, given=reading.uids.given, on_news=news)
    reading.listeners.extend((reviews.compare, lambda _, __: dispatcher.wake()))
    changes = ChangeReader(
        get=sources.get,
        store=database,
        mark=SettledMark(sources.host),
        stable_age=settings.stable_age,
        on_news=linker.wake,
        clock=time.time,
    )
    decisions = Decisions(
        records=database,
        read_study=sources.read_study,
        snapshot=reading.snapshot,
        lists=reading.lists,
        orders=orders,
        list_timeout=2 * settings.timeout,
        keep_delivered=settings.keep_delivered,
        on_decision=decided,
        clock=time.time,
    )
    return _Completion(changes, linker, dispatcher, sender, reviews, backlog, decisions)


def _broken_off(settings: Settings) -> StepStatus:
    """What becomes of an order that a scanner broke off: received again, so that it's offered
    again, where that passes the gate."""
    passes = settings.orders is not None and "RECEIVED" in settings.orders.rules.passing
    return (
        StepStatus.SCHEDULED
        if settings.procedures.offers_discontinued and passes
        else StepStatus.OTHER
    )


class _Procedures(NamedTuple):
    """procedure: what scanners say of an exam → kept → what it means to its study and its step."""

    provider: Provider
    exams: Exams
    server: Server | None


def _procedures(sources: _Sources, reading: _Reading, completion: _Completion) -> _Procedures:
    settings, database = sources.settings, sources.database
    archive = OrthancExams(sources.host)

    def ended(study: str) -> None:
        archive.set_stable(study)
        database.note_study(study)
        completion.linker.wake()

    announcer = Announcer(
        outbox=database,
        snapshot=reading.snapshot,
        takes_status=completion.sender.reports_in_progress,
        sets_back=settings.procedures.offers_discontinued,
        hold_patient_mismatch=settings.hold_patient_mismatch,
        on_news=completion.dispatcher.wake,
    )
    exams = Exams(
        steps=database,
        archive=archive,
        tell=announcer.tell,
        on_end=ended,
        images_within=settings.procedures.images_within,
        clock=time.time,
    )
    provider = Provider(database, on_news=exams.wake)
    return _Procedures(provider, exams, _dimse_server(sources, provider))


def _dimse_server(sources: _Sources, provider: Provider) -> Server | None:
    settings = sources.settings.procedures
    if settings.port is None:
        return None
    admission = Admission(settings, lambda: sources.get("/modalities?expand"))
    rules = Rules(
        services(provider), admission.refusal, settings.max_associations, settings.timeout
    )
    tls = tls_context(settings.tls) if settings.tls else None
    try:
        return Server(rules, (settings.address, settings.port), tls)
    except OSError as problem:
        raise ConfigurationError(
            "OpenMRS.MPPS.Port", f"{settings.port} can't be opened: {problem.strerror}"
        ) from None


class _Answers(NamedTuple):
    """REST, page, doctor, metrics: what people and programs are told of all this."""

    router: Router
    doctor: Doctor
    metrics: Metrics
    events: Events


def _answers(
    sources: _Sources,
    reading: _Reading,
    mapping: _Mapping,
    completion: _Completion,
    procedures: _Procedures,
) -> _Answers:
    host, settings, database = sources.host, sources.settings, sources.database
    orders = reading.orders
    status = StatusRoutes(
        worklist=reading.worklist,
        source_status=reading.status,
        next_read=lambda: time.time() + reading.refresher.next_read,
        orders=_how_orders_are_read(reading.orders),
        generation=lambda: recognise(
            reading.listed_generation(),
            completion.sender.generation,
            update_url=settings.update_url,
        ),
        backlog=completion.backlog.asked,
        examine=lambda: doctor.findings(),
    )
    doctor = Doctor(
        read=lambda: _read(host),
        get=sources.get,
        status=status.current,
        snapshot=reading.snapshot,
        connect=connect,
    )
    events = Events(
        (
            StepNews(reading.snapshot),
            RowNews(database.changed_notifications, _notification_change, time.time),
            DecisionNews(database.newest_decision, database.assignments_after),
            RowNews(database.changed_procedures, _procedure_change, time.time),
        ),
        clock=time.time,
    )
    nouns = (
        status,
        WorklistRoutes(
            worklist=reading.worklist,
            read_now=lambda: reading.lists.read_now(2 * settings.timeout),
        ),
        NotificationRoutes(
            decisions=completion.decisions,
            finder=mapping.finder,
            look_up_study=guards.look_up_study(host),
        ),
        StudyRoutes(
            finder=mapping.finder,
            mapping=mapping.studies,
            patients=mapping.patients,
            notifications=lambda study: database.list_notifications(study=study),
            assignments=database.assignments_of,
            waiting=database.waiting_studies,
            plugins=sources.orthanc.plugins,
            viewers=settings.viewers,
        ),
        EventRoutes(events),
        CallerRoutes(reading.callers),
        ProcedureRoutes(database),
        DicomWebRoutes(worklist=reading.worklist, provider=procedures.provider),
        PageRoutes(read_files()),
    )
    metrics = Metrics(
        guards.push_metric(host),
        worklist=reading.worklist,
        source_status=reading.status,
        failed_reads=lambda: reading.refresher.failed_reads,
        orders_status=(lambda: orders.status) if orders else None,
        failed_order_reads=lambda: orders.failed_reads if orders else 0,
        backlog=completion.backlog.last,
        tally=reading.tally,
        clock=time.time,
    )
    router = Router(
        with_document(row for noun in nouns for row in noun.table()), audit_log(sources.host)
    )
    return _Answers(router, doctor, metrics, events)


def _notification_change(row: Notification) -> Change:
    return Change(EventKind.NOTIFICATION, str(row.id), row.state.value, row.study)


def _how_orders_are_read(orders: Refresher | None) -> OrderReading | None:
    if orders is None:
        return None
    return OrderReading(lambda: orders.status, lambda: time.time() + orders.next_read)


def _procedure_change(row: ProcedureRecord) -> Change:
    return Change(EventKind.PROCEDURE, row.procedure.uid, row.procedure.state.value, row.study)


def _alerts(sources: _Sources, reading: _Reading, completion: _Completion) -> AlertWatch | None:
    """What waits for a person → the webhook, where there is one."""
    settings = sources.settings.webhook
    if not settings.url:
        return None

    started = time.monotonic()

    def counts() -> dict[Condition, int]:
        age = reading.worklist.age()
        waited = time.monotonic() - started if age is None else age
        found = {
            Condition.LIST_TOO_OLD: int(waited > settings.list_older_than),
            Condition.IMAGES_MISSING: sources.database.procedure_counts()[Images.MISSING.value],
        }
        backlog = completion.backlog.last().backlog
        if backlog is not None:
            found[Condition.HELD] = backlog.counts[NotificationState.HELD]
            found[Condition.FAILED] = backlog.counts[NotificationState.FAILED]
        return found

    return AlertWatch(
        counts,
        Webhook(settings.url, settings.secret).send,
        page=settings.page,
        name=settings.name,
        clock=time.monotonic,
    )


# --- the plugin ------------------------------------------------------------------------------


def _any_change(sequence: int, study: str) -> bool:
    return True


class Plugin:
    """All parts, and what Orthanc's changes mean to them."""

    def __init__(self, host: Orthanc, settings: Settings) -> None:
        self._change_type = host.ChangeType
        self._resource_type = host.ResourceType
        sources = _sources(host, settings)
        self._reading = reading = _reading(sources)
        self._mapping = _mapping(sources, reading)
        self._completion = _completion(sources, reading, self._mapping)
        self._procedures = _procedures(sources, reading, self._completion)
        self._answers = _answers(
            sources, reading, self._mapping, self._completion, self._procedures
        )
        self._alerts = _alerts(sources, reading, self._completion)
        self._client, self._database = sources.client, sources.database
        self._identity = partial(identity_of, host)
        # Beside Orthanc's index it is Orthanc's, also where the index was made anew.
        own = settings.own_database
        self._has_change = _any_change if own else partial(has_change, sources.get)
        self.callers = reading.callers
        self.worklist, self.tally, self.router = (
            reading.worklist,
            reading.tally,
            self._answers.router,
        )

    def start_reading(self) -> None:
        """Serve the kept list and begin to read OpenMRS's."""
        if self._reading.names:
            self._reading.names.start()
        self._completion.backlog.start()
        for reader in self._reading.readers:
            reader.restore()
        self._completion.reviews.begin(self._reading.snapshot())
        for reader in self._reading.readers:
            reader.start()

    def on_change(self, change_type: int, level: int, resource: str) -> None:
        """Orthanc's changes: no network here, and no more than one insert."""
        if change_type == self._change_type.STABLE_STUDY:
            self._database.note_study(resource)
            self._completion.linker.wake()
            self._completion.changes.wake()
            self._forget(resource)
        elif change_type == self._change_type.NEW_INSTANCE:
            self._procedures.exams.instance_came(resource)
        elif change_type == self._change_type.NEW_SERIES:
            self._completion.changes.wake()
        elif change_type == self._change_type.DELETED:
            if level == self._resource_type.STUDY:
                self._forget(resource)
                self._mapping.synchroniser.enqueue(resource)
                self._database.study_deleted(resource)
                self._completion.changes.wake()
        elif change_type == self._change_type.ORTHANC_STARTED:
            self._database.admit(self._identity, self._has_change)
            self._mapping.synchroniser.start()
            self._completion.changes.start()
            self._completion.linker.start()
            self._completion.dispatcher.start()
            self._answers.metrics.start()
            if self._alerts:
                self._alerts.start()
            self._procedures.exams.start()
            if self._procedures.server:
                self._procedures.server.start()
        elif change_type == self._change_type.ORTHANC_STOPPED:
            self.stop()

    def _forget(self, study: str) -> None:
        """What was read of a study may be another now."""
        self._mapping.studies.forget(study)
        self._mapping.finder.changed(study)

    def stop(self) -> None:
        """End the threads, whatever OpenMRS does."""
        os.environ.pop(QUERY_MARK, None)
        self._client.close()
        parts: list[_Part] = [
            self._answers.events,
            self._answers.doctor,
            self._answers.metrics,
            self._completion.backlog,
            self._completion.linker,
            self._completion.dispatcher,
            self._completion.changes,
            self._mapping.synchroniser,
            self._procedures.exams,
            *self._reading.readers,
        ]
        if self._reading.names:
            parts.append(self._reading.names)
        if self._procedures.server:
            parts.append(self._procedures.server)
        if self._alerts:
            parts.append(self._alerts)
        for part in parts:
            part.tell_to_stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        for part in parts:
            part.join(deadline)
        self._database.close()


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
    on_worklist = guards.worklist_callback(
        plugin.worklist.answers, plugin.tally.note, plugin.callers.note
    )
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
