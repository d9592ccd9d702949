"""Remembers which StudyInstanceUID was given out for which request.

Decides: when that is kept: before a list is served, so that no scanner has a UID that isn't
known. A database that fails keeps no list from being served: what is not kept yet is tried with
the next list. Must not know: SQL, queries.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import GivenUid
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.uids import GivenUids

_log = logging.getLogger(__name__)


class UidStore(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def load_given_uids(self) -> list[GivenUid]: ...
    def save_given_uids(self, given: Sequence[GivenUid]) -> None: ...


class UidRegistry:
    """The UIDs that were given out. `given` may be asked by any thread, `give` by one."""

    def __init__(self, store: UidStore) -> None:
        self._store = store
        self._given = GivenUids()
        self._loaded = False
        self._not_kept: tuple[GivenUid, ...] = ()
        self._problem = ""

    def given(self) -> GivenUids:
        """What was given out, as far as it is known."""
        return self._given

    def load(self) -> GivenUids:
        """What was given out, with what is kept."""
        if not self._loaded:
            try:
                self._given = GivenUids.of((*self._store.load_given_uids(), *self._given.given))
                self._loaded = True
            except StoreError as problem:
                self._tell(problem)
        return self._given

    def give(self, items: Iterable[WorklistItem]) -> None:
        """These are about to be served."""
        wanted = (
            GivenUid(
                item["StudyInstanceUID"],
                item.request.requested_procedure_id,
                item.request.patient_id,
                item.request.accession_number,
            )
            for item in items
        )
        new = tuple(one for one in dict.fromkeys(wanted) if not self._given.has(one))
        if new:
            self._given = self._given.and_(new)
        self._not_kept += new
        if not self._not_kept:
            return
        try:
            self._store.save_given_uids(self._not_kept)
        except StoreError as problem:
            self._tell(problem)
        else:
            self._not_kept, self._problem = (), ""

    def _tell(self, problem: StoreError) -> None:
        if str(problem) != self._problem:
            _log.error("StudyInstanceUIDs that are given out can't be kept: %s", problem)
        self._problem = str(problem)
