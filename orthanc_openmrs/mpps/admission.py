"""Who may report performed procedure steps.

Decides: which association is refused, by the AE titles and hosts that Orthanc knows. Must not
know: sockets, Orthanc's module.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from orthanc_openmrs.dimse import pdu
from orthanc_openmrs.mpps.settings import ProcedureSettings, folded

_log = logging.getLogger(__name__)

HOLDS = 10.0
"""Seconds for which what Orthanc said of its modalities lets a caller in."""

PAUSE = 1.0
"""Seconds before Orthanc is asked again for one that it doesn't know: a stranger may call all the
time, and one may have been added just now."""


class Modality(NamedTuple):
    """A modality that Orthanc knows."""

    ae_title: str
    host: str


def modalities(document: Any) -> list[Modality]:
    """From Orthanc's `/modalities?expand`, or its key DicomModalities."""
    found = []
    for one in document.values() if isinstance(document, Mapping) else ():
        if isinstance(one, Mapping):
            title, host = one.get("AET"), one.get("Host")
        elif isinstance(one, list) and len(one) > 1:
            title, host = one[0], one[1]
        else:
            continue
        if isinstance(title, str):
            found.append(Modality(title, host if isinstance(host, str) else ""))
    return found


class Admission:
    """Says why an association isn't taken."""

    def __init__(
        self,
        settings: ProcedureSettings,
        ask_modalities: Callable[[], Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._ask = ask_modalities
        self._clock = clock
        self._known: list[Modality] = []
        self._asked = float("-inf")

    def refusal(self, request: pdu.AssociateRequest, address: str) -> pdu.Rejection | None:
        """Why not, None where it is welcome."""
        settings = self._settings
        if settings.checks_called and self._fold(request.called_ae_title) != self._fold(
            settings.ae_title
        ):
            return pdu.CALLED_NOT_RECOGNIZED
        calling = self._fold(request.calling_ae_title)
        if settings.calling_ae_titles is not None:
            welcome = not settings.calling_ae_titles or calling in settings.calling_ae_titles
        else:
            welcome = self._is_known(calling, address, HOLDS) or self._is_known(
                calling, address, PAUSE
            )
        return None if welcome else pdu.CALLING_NOT_RECOGNIZED

    def _fold(self, title: str) -> str:
        return folded(title, is_strict=self._settings.is_strict)

    def _is_known(self, calling: str, address: str, holds: float) -> bool:
        if self._clock() - self._asked >= holds:
            self._asked = self._clock()
            try:
                self._known = modalities(self._ask())
            except Exception:  # of Orthanc, which may be stopping
                _log.exception("Orthanc doesn't say which modalities it knows")
        hosts = [one.host for one in self._known if self._fold(one.ae_title) == calling]
        return address in hosts if self._settings.checks_host else bool(hosts)
