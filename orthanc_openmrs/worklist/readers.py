"""The readers of all sources, as whoever needs a fresh list sees them.

Decides: for which source is waited, and that one which is down costs itself only. Must not know:
when a list is read, HTTP.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Source
from orthanc_openmrs.worklist.orders import is_of_order
from orthanc_openmrs.worklist.refresh import Refresher
from orthanc_openmrs.worklist.snapshot import Snapshot


class Readers:
    """A reader a source; the Imaging module's is the first."""

    def __init__(self, readers: Mapping[Source, Refresher]) -> None:
        self._readers = readers

    def read_after(self, moment: float, timeout: float, of: str = "") -> Snapshot:
        """A list whose read began after a moment of `time.monotonic`: of all sources that answer,
        or of the one that the request with the RequestedProcedureID `of` comes from.

        Raises OpenMRSError where none of them gives one, each within `timeout` seconds.
        """
        if of:
            return self._reader_of(of).read_after(moment, timeout)
        return self._all(lambda reader: reader.read_after(moment, timeout))

    def read_now(self, timeout: float) -> Snapshot:
        """As `read_after` of this moment, at once: for a person who asks for it."""
        return self._all(lambda reader: reader.read_now(timeout))

    def _reader_of(self, request: str) -> Refresher:
        source = Source.ORDERS if is_of_order(request) else Source.IMAGING
        return self._readers.get(source, self._readers[Source.IMAGING])

    def _all(self, read: Callable[[Refresher], Snapshot]) -> Snapshot:
        found: list[Snapshot] = []
        problems: list[OpenMRSError] = []
        for reader in self._readers.values():
            try:
                found.append(read(reader))
            except OpenMRSError as problem:
                problems.append(problem)
        if not found:
            raise problems[0]
        # The last one has what the others read, too.
        return replace(
            found[-1],
            read_at=min(one.read_at for one in found),
            began=min(one.began for one in found),
        )
