"""Python's logging → Orthanc's log.

Orthanc shows its level "warning" by default and uses it for notices too; so do we.
"""

import logging

from orthanc_openmrs.host.api import Orthanc

LOGGER = "orthanc_openmrs"


class OrthancLog(logging.Handler):
    """Writes each record as one line of Orthanc's log."""

    def __init__(self, host: Orthanc) -> None:
        super().__init__()
        self._host = host

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            line = " ".join(f"OpenMRS: {self.format(record)}".split())
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
