"""Exams as scanners report them: what becomes of each, in a thread of its own.

Decides: when a step is looked at, how long its images are awaited, when its study is linked
without waiting any longer. The database holds what is due, so that nothing is lost with the
thread. Must not know: sockets, SQL, Orthanc's module.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from orthanc_openmrs.completion.retries import ToldOnce
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import (
    Images,
    KeptProcedure,
    ProcedureRecord,
    ProcedureState,
    SeriesArrival,
)
from orthanc_openmrs.mpps.announcing import NotYet
from orthanc_openmrs.mpps.meaning import (
    SeriesInOrthanc,
    arrivals,
    expected_ids,
)
from orthanc_openmrs.mpps.procedure import Refused, listed_instances
from orthanc_openmrs.worker import Worker

_log = logging.getLogger(__name__)

IDLE = 30.0
"""Seconds after which the database is looked at again without being told to."""

FAILED = 5.0
"""Seconds before what failed is tried again."""

FIRST_LOOK = 1.0
LONGEST_LOOK = 60.0
"""Seconds between two looks at images that are awaited, doubled each time: mostly Orthanc tells
of each image, but not of those that another Orthanc took."""

CAME_MEANWHILE = 0.2
"""Seconds before another look where images came during the last one."""

LATE_LOOK = 600.0
GIVEN_UP = 7 * 86400.0
"""Seconds between two looks at images that are missing, and until nobody expects them."""

MOST_AWAITED = 200_000
"""Images whose coming is waited for one by one; beyond, they are looked for now and then."""


_CANT_LOOK = "performed procedure steps can't be looked at now"


class Steps(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def claim(self, what: str) -> AbstractContextManager[bool]: ...
    def due_procedures(self, limit: int = 100) -> list[ProcedureRecord]: ...
    def next_due_procedure(self) -> float | None: ...
    def load_procedure(self, uid: str) -> tuple[KeptProcedure, int] | None: ...
    def wake_procedures(self, uids: Collection[str]) -> None: ...
    def note_procedure(
        self,
        record: ProcedureRecord,
        *,
        seconds: float | None,
        told: str | None = None,
        images: Images | None = None,
        arrivals: Iterable[SeriesArrival] | None = None,
        study: str | None = None,
    ) -> bool: ...


class Archive(Protocol):
    """Orthanc, as far as it is needed here."""

    def series(self, series_instance_uid: str) -> Sequence[SeriesInOrthanc]: ...
    def instance_uids(self, series_instance_uid: str) -> frozenset[str]: ...
    def studies(self, study_instance_uid: str) -> Sequence[str]: ...
    def is_stable(self, study: str) -> bool: ...


class Exams(Worker):
    """Looks after the performed procedure steps that the database holds.

    `tell` passes a step's state on to OpenMRS's notifications, and raises NotYet where that needs
    a newer list; `on_end` hears of each study that may be linked now.
    """

    def __init__(
        self,
        *,
        steps: Steps,
        archive: Archive,
        tell: Callable[[ProcedureRecord], None],
        on_end: Callable[[str], None],
        images_within: float,
        clock: Callable[[], float],
    ) -> None:
        super().__init__("exams")
        self._steps = steps
        self._archive = archive
        self._tell = tell
        self._on_end = on_end
        self._within = images_within
        self._clock = clock
        self._lock = threading.Lock()
        self._owner: dict[str, str] = {}
        self._missing: dict[str, set[str]] = {}
        self._complete: set[str] = set()
        self._came = 0
        self._problems = ToldOnce(_log)

    def wake(self) -> None:
        """A scanner reported something."""
        self._wake.set()

    def instance_came(self, instance: str) -> None:
        """Orthanc has one more instance. Called for each: it costs one look-up."""
        self._came += 1
        if instance not in self._owner:
            return
        with self._lock:
            uid = self._owner.pop(instance, None)
            waiting = self._missing.get(uid or "")
            if uid is None or waiting is None:
                return
            waiting.discard(instance)
            if waiting:
                return
            self._complete.add(uid)
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                progressed = self.work()
                self._problems.over(_CANT_LOOK)
                pause = 0.0 if progressed else self._seconds_to_next()
            except StoreError as problem:
                self._problems.tell(_CANT_LOOK, problem)
                pause = FAILED
            except Exception:  # the thread must live
                _log.exception(_CANT_LOOK)
                pause = FAILED
            if pause:
                self._wake.wait(pause)

    def _seconds_to_next(self) -> float:
        due = self._steps.next_due_procedure()
        return IDLE if due is None else min(IDLE, max(0.1, due - self._clock()))

    def work(self) -> bool:
        """Look at all that is due; whether there was anything. Raises StoreError."""
        with self._lock:
            complete, self._complete = self._complete, set()
        self._steps.wake_procedures(complete)
        due = self._steps.due_procedures()
        progressed = False
        for record in due:
            if self._stopping.is_set():
                return False
            with self._steps.claim(f"procedure {record.procedure.uid}") as mine:
                if mine:
                    progressed |= self._look_at(record)
        return progressed

    def _look_at(self, record: ProcedureRecord) -> bool:
        uid = record.procedure.uid
        try:
            if record.procedure.state is ProcedureState.COMPLETED:
                self._await_images(record)
            else:
                self._pass_on(record)
        except StoreError:
            raise
        except NotYet as problem:
            _log.info("performed procedure step %s waits: %s", uid, problem)
            self._steps.note_procedure(record, seconds=self._pause(record, FAILED))
        except Exception:  # one odd step must not stop the others
            _log.exception("performed procedure step %s can't be looked at", uid)
            self._steps.note_procedure(record, seconds=self._pause(record, FAILED))
        return True

    @staticmethod
    def _pause(record: ProcedureRecord, first: float) -> float:
        return float(min(LONGEST_LOOK, first * 2.0 ** min(record.attempts, 20)))

    def _pass_on(self, record: ProcedureRecord) -> None:
        """An exam begins, or is broken off: OpenMRS is told, its study waits no longer."""
        if record.told != record.procedure.state:
            self._tell(record)
        if record.procedure.state is ProcedureState.DISCONTINUED:
            self._forget(record.procedure.uid)
            for study in self._stable_studies(record):
                self._on_end(study)
        self._steps.note_procedure(record, seconds=None, told=record.procedure.state)

    def _stable_studies(self, record: ProcedureRecord) -> list[str]:
        """Studies that Orthanc awaits no images of, but that may wait for this step's end."""
        uids = {one.study_instance_uid for one in record.procedure.references}
        studies = [one for uid in sorted(uids - {""}) for one in self._archive.studies(uid)]
        return [one for one in studies if self._archive.is_stable(one)]

    # --- images ---

    def _await_images(self, record: ProcedureRecord) -> None:
        uid = record.procedure.uid
        listed = self._listed(uid)
        if not any(listed.values()):
            for study in self._stable_studies(record):
                self._on_end(study)
            self._steps.note_procedure(
                record, seconds=None, told=record.procedure.state, images=Images.NOT_LISTED
            )
            return
        before = self._came
        found = {series: self._archive.series(series) for series in listed}
        counts, missing = self._count(listed, found)
        studies = sorted({one.study for series in found.values() for one in series})
        expected = sum(one.expected for one in counts)
        come = sum(one.come for one in counts)
        if come == expected:
            self._forget(uid)
            images, seconds = Images.COME, None
        else:
            begun = {series for series, those in found.items() if those}
            absent = {series: uids for series, uids in listed.items() if series not in begun}
            self._expect(uid, missing | expected_ids(record.procedure, absent), expected - come)
            images, seconds = self._wait(record)
            if self._came != before and seconds is not None:
                seconds = min(seconds, CAME_MEANWHILE)
        was = record.images
        kept = self._steps.note_procedure(
            record,
            seconds=seconds,
            told=record.procedure.state,
            images=images,
            arrivals=counts,
            study=studies[0] if studies else "",
        )
        if not kept or images is was or images is Images.AWAITED:
            return
        if images is Images.COME:
            _log.warning("performed procedure step %s: all %d images have come", uid, expected)
        else:
            _log.warning(
                "performed procedure step %s: %d of %d images have come", uid, come, expected
            )
        for study in studies:
            self._on_end(study)

    def _listed(self, uid: str) -> Mapping[str, frozenset[str]]:
        found = self._steps.load_procedure(uid)
        if found is None:
            return {}
        try:
            return listed_instances(found[0].content, found[0].transfer_syntax)
        except Refused:
            return {}

    def _count(
        self,
        listed: Mapping[str, frozenset[str]],
        found: Mapping[str, Sequence[SeriesInOrthanc]],
    ) -> tuple[tuple[SeriesArrival, ...], frozenset[str]]:
        counts, missing = arrivals(listed, found)
        exact = []
        for one in counts:
            here = sum(len(series.instances) for series in found[one.series_instance_uid])
            come = one.come
            if come < one.expected <= here:
                # Orthanc made their IDs of something else than what it says.
                uids = self._archive.instance_uids(one.series_instance_uid)
                come = len(uids & listed[one.series_instance_uid])
            exact.append(SeriesArrival(one.series_instance_uid, one.expected, come))
        return tuple(exact), missing

    def _wait(self, record: ProcedureRecord) -> tuple[Images, float | None]:
        """Where the images stand while some lack, and when they are looked for again."""
        age = self._clock() - record.ended
        if age < self._within:
            pause = self._pause(record, FIRST_LOOK)
            return Images.AWAITED, min(pause, max(0.01, self._within - age))
        if age < GIVEN_UP:
            return Images.MISSING, LATE_LOOK
        self._forget(record.procedure.uid)
        return Images.MISSING, None

    def _expect(self, uid: str, ids: Collection[str], most: int) -> None:
        """Wait for these instances one by one."""
        self._forget(uid)
        with self._lock:
            if len(ids) == most and len(self._owner) + most <= MOST_AWAITED:
                self._missing[uid] = set(ids)
                self._owner.update(dict.fromkeys(ids, uid))

    def _forget(self, uid: str) -> None:
        with self._lock:
            for instance in self._missing.pop(uid, ()):
                self._owner.pop(instance, None)
