"""Python's logging → Orthanc's log.

Orthanc shows its level "warning" by default and uses it for notices too; so do we. An error that
nobody expected is told by its type and its place: its words may hold what it stumbled over, a
patient's name or a password.
"""

import logging
from types import TracebackType

from orthanc_openmrs.host.api import Orthanc

LOGGER = "orthanc_openmrs"

MOST_FRAMES = 12
"""Places of an exception that are told."""


class OrthancLog(logging.Handler):
    """Writes each record as one line of Orthanc's log."""

    def __init__(self, host: Orthanc) -> None:
        super().__init__()
        self._host = host

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            words = " ".join(f"OpenMRS: {record.getMessage()}{_place(record)}".split())
            # AE titles, routes and texts of other systems may hold what a terminal would obey.
            line = "".join(mark if mark.isprintable() else "\ufffd" for mark in words)
            if record.levelno >= logging.ERROR:
                self._host.LogError(line)
            elif record.levelno >= logging.WARNING:
                self._host.LogWarning(line)
            else:
                self._host.LogInfo(line)
        except Exception:
            self.handleError(record)


def install(host: Orthanc) -> None:
    """Send the plugin's log to Orthanc, once."""
    logger = logging.getLogger(LOGGER)
    logger.handlers = [OrthancLog(host)]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _place(record: logging.LogRecord) -> str:
    """The type of a record's exception and where it came from, innermost first."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    kind, _, trace = record.exc_info
    return f": Traceback of {kind.__name__}: {' < '.join(_frames(trace)[::-1])}"


def _frames(trace: TracebackType | None) -> list[str]:
    found: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return found[-MOST_FRAMES:]
