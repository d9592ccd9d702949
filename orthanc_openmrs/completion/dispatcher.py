"""Which notification is handed to which sender, and when.

Decides: how many are under way at once, each of another request. The database holds what is
due, so that nothing is lost with a thread. Must not know: what is sent, HTTP, SQL.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from orthanc_openmrs.completion.retries import FIRST_PAUSE, ToldOnce, pause_after, seconds_to_next
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import Notification
from orthanc_openmrs.worker import Worker

_log = logging.getLogger(__name__)

SENDERS = 8
"""Notifications that are under way at once, each of another request."""

_CANT_SEND = "notifications can't be sent now"
_CANT_KEEP = "what became of notifications can't be kept"


class DueNotifications(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def claim(self, what: str) -> AbstractContextManager[bool]: ...
    def due_notifications(self, limit: int = 100) -> list[Notification]: ...
    def begin(self, notification: Notification, seconds: float) -> bool: ...
    def next_due(self) -> float | None: ...


class Dispatcher(Worker):
    """Has the notifications that are due delivered, by several threads."""

    def __init__(
        self,
        *,
        outbox: DueNotifications,
        deliver: Callable[[Notification], None],
        clock: Callable[[], float],
    ) -> None:
        super().__init__("dispatch")
        self._outbox = outbox
        self._deliver = deliver
        self._clock = clock
        self._hand_over: queue.Queue[Notification | None] = queue.Queue(SENDERS)
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
        """Something may be due."""
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
            handed = False
            try:
                for notification in self._outbox.due_notifications():
                    handed |= self._hand(notification)
                self._problems.over(_CANT_SEND)
            except StoreError as problem:
                self._problems.tell(_CANT_SEND, problem)
            except Exception:  # the thread must live
                _log.exception(_CANT_SEND)
            if not handed:
                self._wake.wait(seconds_to_next(self._outbox, self._clock))

    def _hand(self, notification: Notification) -> bool:
        with self._under_way_lock:
            if notification.requested_procedure_id in self._under_way:
                return False
            self._under_way.add(notification.requested_procedure_id)
        while not self._stopping.is_set():
            try:
                self._hand_over.put(notification, timeout=1)
            except queue.Full:
                continue
            return True
        return False

    def _send(self) -> None:
        while not self._stopping.is_set():
            notification = self._hand_over.get()
            if notification is None:
                return
            try:
                with self._outbox.claim(f"notification {notification.id}") as mine:
                    # On disk first: after a kill -9, or where the outcome can't be kept, the
                    # next try is a second one, which looks at the list before.
                    if mine and self._outbox.begin(
                        notification, pause_after(notification.attempts)
                    ):
                        self._deliver(notification)
                    elif not mine:
                        self._stopping.wait(FIRST_PAUSE)  # another Orthanc is at it
                self._problems.over(_CANT_KEEP)
            except StoreError as problem:
                self._problems.tell(_CANT_KEEP, problem)
                self._stopping.wait(FIRST_PAUSE)
            except Exception:  # a sender must live; the notification stays due
                _log.exception("notification %d failed", notification.id)
                self._stopping.wait(FIRST_PAUSE)
            finally:
                with self._under_way_lock:
                    self._under_way.discard(notification.requested_procedure_id)
                self._wake.set()
