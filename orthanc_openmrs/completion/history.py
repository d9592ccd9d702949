"""What is known of a study from before → what its next decision is to heed.

Decides: what counts as told, as settled and as said by a person. Pure. Must not know: the
database, the list.
"""

from collections.abc import Iterable

from orthanc_openmrs.completion.linking import PERSON, History
from orthanc_openmrs.model import (
    NO_STEP,
    Kind,
    Notification,
    NotificationState,
    StepIdentity,
    StudyRecord,
)

NO_LONGER_TOLD = (NotificationState.FAILED, NotificationState.DISCARDED)


def history_of(known: StudyRecord, study: str, *, besides: int = 0) -> History:
    """What counts for a study (Orthanc ID). `besides` is a notification that is left out: the one
    that is about to be sent."""
    rows = [row for row in known.rows if row.kind is Kind.COMPLETED and row.id != besides]
    here = [row for row in rows if (row.study, row.life) == (study, known.life)]
    reported = [
        row
        for row in here
        if row.evidence == PERSON and row.state not in NO_LONGER_TOLD and row.step != NO_STEP
    ]
    held = {row.id for row in here if row.step == NO_STEP}
    as_a_whole = [
        decision
        for decision in known.said
        if decision.action == "report"
        or (decision.action == "discard" and decision.notification in held)
    ]
    return History(
        told=_steps(row for row in rows if row.delivered or row in reported),
        settled=frozenset(_steps(row for row in here if _is_settled(row))),
        reported=_steps(reported),
        said=bool(as_a_whole),
        seen=frozenset(token for decision in known.said for token in decision.named.split()),
    )


def _is_settled(row: Notification) -> bool:
    """Whether it isn't told again for the same images."""
    return (
        row.delivered > 0
        or row.state is NotificationState.FAILED
        or (row.state is NotificationState.DISCARDED and row.by_person)
    )


def _steps(rows: Iterable[Notification]) -> tuple[StepIdentity, ...]:
    return tuple(dict.fromkeys(row.step for row in rows if row.step != NO_STEP))
