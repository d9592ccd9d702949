"""A limit on what a database server is waited for.

A server that hangs, or a network that swallows, answers no limit that the server itself is to
keep. Decides: that an exchange with it ends after its time, by cutting the connection. Must not
know: what is exchanged.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Protocol


class Cuttable(Protocol):
    """A connection that has a socket."""

    def fileno(self) -> int: ...


class Watch:
    """Cuts the connections whose exchange takes longer than its limit, in a thread of its own."""

    def __init__(self) -> None:
        self._limits: dict[int, tuple[float, Cuttable]] = {}
        self._numbers = count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.cuts = 0

    def begin(self, connection: Cuttable, seconds: float) -> int:
        """An exchange begins; returns the number that ends it."""
        with self._changed:
            number = next(self._numbers)
            self._limits[number] = (time.monotonic() + seconds, connection)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="openmrs-database", daemon=True
                )
                self._thread.start()
            self._changed.notify()
        return number

    def end(self, number: int) -> bool:
        """The exchange is over; False where it was cut."""
        with self._changed:
            return self._limits.pop(number, None) is not None

    @contextmanager
    def limit(self, connection: Cuttable, seconds: float) -> Iterator[None]:
        """What is done inside ends after its time, with an error of the driver."""
        number = self.begin(connection, seconds)
        try:
            yield
        finally:
            self.end(number)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for number, (deadline, connection) in list(self._limits.items()):
                    if deadline <= now:
                        del self._limits[number]
                        self.cuts += 1
                        _cut(connection)
                nearest = min((deadline for deadline, _ in self._limits.values()), default=None)
                self._changed.wait(None if nearest is None else max(0.0, nearest - now))


def _cut(connection: Cuttable) -> None:
    # Closed by itself meanwhile: there is nothing to cut.
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)
