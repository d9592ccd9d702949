"""A thread of the plugin's own, and how it ends. Must not know what it does."""

import threading
import time


class Worker:
    """A part of the plugin that works in a thread of its own, told to end and waited for.

    `_run` is the thread's work: it waits by `_wake` or `_stopping`, and returns where `_stopping`
    is set. A thread that hangs in an exchange is left to the end of the process: it is a daemon.
    """

    def __init__(self, name: str) -> None:
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"openmrs-{name}", daemon=True)

    def _run(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def tell_to_stop(self) -> None:
        """Let the thread end; `join` waits for it."""
        self._stopping.set()
        self._wake.set()

    def join(self, deadline: float) -> None:
        """Wait for the end of the thread until a moment of `time.monotonic`."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
