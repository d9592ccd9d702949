"""What a list that was read says about what was decided before.

Decides: which undecided studies are looked at again, and which steps were told of and are open
again. Costs no more than what changed since the list before. Must not know: HTTP, SQL, Orthanc.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Protocol

from orthanc_openmrs.completion.evidence import named_of
from orthanc_openmrs.completion.linking import identity_of
from orthanc_openmrs.model import (
    ImagingRequest,
    Named,
    Notification,
    Source,
    StepIdentity,
    StudyRecord,
)
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uids import GivenUids

_log = logging.getLogger(__name__)


class Decided(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def look_again(self, named: Collection[Named]) -> list[str]: ...
    def delivered_steps(self, step_ids: Collection[str]) -> list[Notification]: ...
    def delivered_since(self, moment: float) -> list[Notification]: ...
    def history(self, study: str, study_instance_uid: str) -> StudyRecord: ...
    def reopened(self, notification: Notification, reason: str) -> bool: ...


class Review:
    """Compares each list with the one before. Called by one thread.

    `on_news` is called where studies are to be decided anew, or a person is to see something.
    """

    def __init__(
        self,
        *,
        decided: Decided,
        given: Callable[[], GivenUids],
        on_news: Callable[[], None],
    ) -> None:
        self._decided = decided
        self._given = given
        self._on_news = on_news
        self._before: Snapshot | None = None

    def begin(self, kept: Snapshot | None) -> None:
        """The list that was kept: it was compared before it was."""
        self._before = kept

    def compare(self, snapshot: Snapshot) -> None:
        """Raises StoreError: then the same is compared with the next list."""
        before, given = self._before, self._given()
        known = {id(request) for request in before.requests} if before else set()
        now = {id(request) for request in snapshot.requests}
        came = [request for request in snapshot.requests if id(request) not in known]
        went = [request for request in before.requests if id(request) not in now] if before else []
        again: list[str] = []
        if came or went:
            named: set[Named] = set()
            for request in (*came, *went):
                named |= named_of(request, given)
            again = self._decided.look_again(named)
            if again:
                _log.warning("%d studies are looked at again by a newer list", len(again))
        shown = self._show_reopened(snapshot, came, before.read_at if before else 0.0)
        self._before = snapshot
        if again or shown:
            self._on_news()

    def _show_reopened(
        self, snapshot: Snapshot, came: Iterable[ImagingRequest], since: float
    ) -> int:
        told = self._decided.delivered_since(since)
        changed = _open_steps(came)
        told += self._decided.delivered_steps(
            {identity.scheduled_procedure_step_id for identity in changed}
        )
        if not told:
            return 0
        wanted = {one.scheduled_procedure_step_id for one in told}
        still_open = _open_steps(snapshot.requests, wanted)
        newest = {one.step: one for one in sorted(told, key=lambda one: one.id)}
        return sum(
            self._show(one)
            for identity, one in newest.items()
            if identity in still_open and one.delivered < snapshot.read_at
        )

    def _show(self, told: Notification) -> bool:
        """To a person, unless the study is gone, or made again: then it is another's turn."""
        if self._decided.history(told.study, told.study_instance_uid).life != told.life:
            return False
        when = datetime.fromtimestamp(told.delivered, UTC).strftime("%Y-%m-%d %H:%M UTC")
        shown = self._decided.reopened(told, f"told on {when}, but open in OpenMRS again")
        if shown:
            _log.warning(
                "step %s was told (notification %d), but is open in OpenMRS again",
                told.scheduled_procedure_step_id,
                told.id,
            )
        return shown


class Reviews:
    """A review of each source's part of the list, which is read by a thread of its own."""

    def __init__(
        self,
        *,
        decided: Decided,
        given: Callable[[], GivenUids],
        on_news: Callable[[], None],
    ) -> None:
        self._of = {
            source: Review(decided=decided, given=given, on_news=on_news) for source in Source
        }

    def begin(self, kept: Snapshot | None) -> None:
        """The list that was kept, of all sources."""
        for source, review in self._of.items():
            if kept is not None and kept.part(source) is not None:
                review.begin(kept.only(source))

    def compare(self, source: Source, snapshot: Snapshot) -> None:
        """A source's part was read. Raises StoreError."""
        self._of[source].compare(snapshot.only(source))


def _open_steps(
    requests: Iterable[ImagingRequest], wanted: Collection[str] | None = None
) -> set[StepIdentity]:
    """The open steps, or those of the wanted ids."""
    return {
        identity_of(request, step)
        for request in requests
        for step in request.steps
        if step.status.is_open and (wanted is None or step.scheduled_procedure_step_id in wanted)
    }
