"""Which notification is handed to which sender, and when.

Decides: that none is sent before a list was read since it was due, one list for all that are
due; that each step has its own turn; how many are under way at once. The database holds what is
due, so that nothing is lost with a thread. Must not know: what is sent, HTTP, SQL.
"""

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from orthanc_openmrs.completion.lists import LIST_TIMEOUT, Lists, waiting_for
from orthanc_openmrs.completion.retries import FIRST_PAUSE, ToldOnce, pause_after, seconds_to_next
from orthanc_openmrs.errors import OpenMRSError, StoreError
from orthanc_openmrs.model import Notification
from orthanc_openmrs.worker import Worker
from orthanc_openmrs.worklist.orders import is_of_order
from orthanc_openmrs.worklist.snapshot import Snapshot

_log = logging.getLogger(__name__)

SENDERS = 8
"""Notifications that are under way at once, each of another request: OpenMRS writes the request
with each step of it."""

MOST_AT_ONCE = 500
"""Notifications that one list serves."""

AWAY = 5.0
"""Seconds after a list that couldn't be read before another is asked for, unless one came."""

_CANT_SEND = "notifications can't be sent now"
_CANT_KEEP = "what became of notifications can't be kept"


class DueNotifications(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def claim(self, what: str) -> AbstractContextManager[bool]: ...
    def due_notifications(self, limit: int = 100) -> list[Notification]: ...
    def begin(self, notification: Notification, seconds: float) -> bool: ...
    def retry_later(
        self, notification: Notification, seconds: float, reason: str, repeats: int = 0
    ) -> bool: ...
    def next_due(self) -> float | None: ...


class _Job(NamedTuple):
    """What is due of one request, one after the other, by one list."""

    request: str
    notifications: Sequence[Notification]
    snapshot: Snapshot


class Dispatcher(Worker):
    """Has the notifications that are due delivered, by several threads. `monotonic` is the clock
    of `Snapshot.began`."""

    def __init__(
        self,
        *,
        outbox: DueNotifications,
        lists: Lists,
        deliver: Callable[[Notification, Snapshot], None],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("dispatch")
        self._outbox = outbox
        self._lists = lists
        self._deliver = deliver
        self._clock = clock
        self._monotonic = monotonic
        self._hand_over: queue.Queue[_Job | None] = queue.Queue(SENDERS)
        self._under_way: set[str] = set()
        self._under_way_lock = threading.Lock()
        self._problems = ToldOnce(_log)
        self._senders = [
            threading.Thread(target=self._send, name=f"openmrs-send-{at}", daemon=True)
            for at in range(SENDERS)
        ]

    def start(self) -> None:
        """Start the threads; what the database holds is taken up at once."""
        super().start()
        for sender in self._senders:
            sender.start()

    def wake(self) -> None:
        """Something may be due, or a list was read."""
        self._wake.set()

    def tell_to_stop(self) -> None:
        """Let the threads end. What is under way stays due in the database."""
        super().tell_to_stop()
        for _ in range(SENDERS):
            try:
                self._hand_over.put_nowait(None)
            except queue.Full:
                break

    def join(self, deadline: float) -> None:
        """Wait for the threads until a moment of `time.monotonic`; a sender may hang in an
        exchange with OpenMRS, and is left to its daemon thread."""
        super().join(deadline)
        for sender in self._senders:
            if sender.ident is not None:
                sender.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            pause = None
            try:
                pause = self.dispatch()
                self._problems.over(_CANT_SEND)
            except StoreError as problem:
                self._problems.tell(_CANT_SEND, problem)
            except Exception:  # the thread must live
                _log.exception(_CANT_SEND)
            if pause is None:
                pause = seconds_to_next(self._outbox, self._clock)
            self._wake.wait(pause)

    def dispatch(self) -> float | None:
        """Hand over all that is due; returns the seconds until it is worth another look, None
        where the database says. Raises StoreError."""
        seen = self._monotonic()
        due: dict[str, list[Notification]] = defaultdict(list)
        with self._under_way_lock:
            under_way = set(self._under_way)
        for notification in self._outbox.due_notifications(MOST_AT_ONCE):
            if notification.requested_procedure_id not in under_way:
                due[notification.requested_procedure_id].append(notification)
        if not due:
            return None
        lists: dict[bool, Snapshot | OpenMRSError] = {}
        for request, notifications in due.items():
            # One list for all of the same source: one that is down costs itself only.
            its_source = is_of_order(request)
            if its_source not in lists:
                try:
                    lists[its_source] = self._lists.read_after(seen, LIST_TIMEOUT, request)
                except OpenMRSError as problem:
                    lists[its_source] = problem
            found = lists[its_source]
            if isinstance(found, Snapshot):
                self._hand(_Job(request, notifications, found))
            else:
                self._say_why(notifications, waiting_for(found))
        return AWAY if any(isinstance(one, OpenMRSError) for one in lists.values()) else 0.0

    def _say_why(self, due: Iterable[Notification], reason: str) -> None:
        for notification in due:
            if notification.last_error != reason:
                self._outbox.retry_later(notification, 0.0, reason, notification.repeats)

    def _hand(self, job: _Job) -> None:
        with self._under_way_lock:
            self._under_way.add(job.request)
        while not self._stopping.is_set():
            try:
                self._hand_over.put(job, timeout=1)
            except queue.Full:
                continue
            return

    def _send(self) -> None:
        while not self._stopping.is_set():
            job = self._hand_over.get()
            if job is None:
                return
            try:
                for notification in job.notifications:
                    if not self._stopping.is_set():
                        self._try(notification, job.snapshot)
            finally:
                with self._under_way_lock:
                    self._under_way.discard(job.request)
                self._wake.set()

    def _try(self, notification: Notification, snapshot: Snapshot) -> None:
        try:
            with self._outbox.claim(f"notification {notification.id}") as mine:
                # On disk first: after a kill -9, or where the outcome can't be kept, the next try
                # is a second one, which takes a completed step for told.
                if mine and self._outbox.begin(notification, pause_after(notification.attempts)):
                    self._deliver(notification, snapshot)
                elif not mine:
                    self._stopping.wait(FIRST_PAUSE)  # another Orthanc is at it
            self._problems.over(_CANT_KEEP)
        except StoreError as problem:
            self._problems.tell(_CANT_KEEP, problem)
            self._stopping.wait(FIRST_PAUSE)
        except Exception:  # a sender must live; the notification stays due
            _log.exception("notification %d failed", notification.id)
            self._stopping.wait(FIRST_PAUSE)
