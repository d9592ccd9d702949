"""Performed procedure steps (MPPS), with what has become of their images.

Decides: that a step is on disk before its answer, that of two changes at once none is lost, what
a study's steps are found by. Must not know: the standard's rules, what a step means.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from orthanc_openmrs.model import (
    DiscontinuationReason,
    Images,
    KeptProcedure,
    PerformedProcedure,
    PerformedSeries,
    ProcedureRecord,
    ProcedureState,
    ScheduledReference,
    SeriesArrival,
    StudySummary,
)
from orthanc_openmrs.store.engine import Aggregate, metadata

procedures = sa.Table(
    "procedures",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uid", sa.String(64), nullable=False, unique=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("calling_ae_title", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),
    sa.Column("ended", sa.Float, nullable=False),
    sa.Column("transfer_syntax", sa.String(64), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("remarks", sa.Text, nullable=False),
    sa.Column("told", sa.String(16), nullable=False),
    sa.Column("images", sa.String(16), nullable=False),
    sa.Column("arrivals", sa.Text, nullable=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due", sa.Float),
    sa.Index("procedures_due", "due"),
    sa.Index("procedures_state", "state"),
    sa.Index("procedures_changed", "changed"),
    sa.Index("procedures_images", "images"),
)
"""`summary` is what was read of `content`, the dataset. `told`: the state that was passed on to
the notifications; `due`: when the worker looks at it next, null where it needn't."""

procedure_keys = sa.Table(
    "procedure_keys",
    metadata,
    sa.Column("kind", sa.String(8), primary_key=True),
    sa.Column("value", sa.String(128), primary_key=True),
    sa.Column("procedure", sa.Integer, primary_key=True),
    sa.Index("procedure_keys_procedure", "procedure"),
)
"""What a study may name a step by: "study" a StudyInstanceUID, "series" a SeriesInstanceUID,
"pps" station and PerformedProcedureStepID, "step" a ScheduledProcedureStepID."""

LONGEST_KEY = 128
MOST_OF_A_STUDY = 100
"""Steps of one study that are looked at, the newest: an exam has one, or a few."""

_SUMMARY = (
    procedures.c.id,
    procedures.c.revision,
    procedures.c.summary,
    procedures.c.remarks,
    procedures.c.calling_ae_title,
    procedures.c.created,
    procedures.c.changed,
    procedures.c.ended,
    procedures.c.images,
    procedures.c.arrivals,
    procedures.c.study,
    procedures.c.attempts,
    procedures.c.told,
)

_INSERT = sa.insert(procedures)
_INSERT_KEYS = sa.insert(procedure_keys)
_LOAD = sa.select(
    procedures.c.revision,
    procedures.c.summary,
    procedures.c.content,
    procedures.c.transfer_syntax,
    procedures.c.remarks,
    procedures.c.calling_ae_title,
).where(procedures.c.uid == sa.bindparam("the_uid"))
_REPLACE = sa.update(procedures).where(
    procedures.c.id == sa.bindparam("the_id"), procedures.c.revision == sa.bindparam("the_revision")
)
_REPLACE_BY_UID = sa.update(procedures).where(
    procedures.c.uid == sa.bindparam("the_uid"),
    procedures.c.revision == sa.bindparam("the_revision"),
)
_ID = sa.select(procedures.c.id).where(procedures.c.uid == sa.bindparam("the_uid"))
_KEYS = sa.select(procedure_keys.c.kind, procedure_keys.c.value).where(
    procedure_keys.c.procedure == sa.bindparam("the_id")
)
_DUE = (
    sa.select(*_SUMMARY)
    .where(procedures.c.due <= sa.bindparam("now"))
    .order_by(procedures.c.due)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_NEXT_DUE = sa.select(sa.func.min(procedures.c.due))


class Procedures(Aggregate):
    """The performed procedure steps of this Orthanc, or of all that share the database."""

    # --- what scanners say ---

    def create_procedure(self, kept: KeptProcedure) -> bool:
        """Keep a new step; False where its UID is there already."""
        now = self._clock()
        values = _values(kept) | {
            "uid": kept.procedure.uid,
            "calling_ae_title": kept.calling_ae_title,
            "transfer_syntax": kept.transfer_syntax,
            "revision": 0,
            "created": now,
            "changed": now,
            "ended": 0.0,
            "told": "",
            "images": Images.NOT_LISTED.value,
            "arrivals": "[]",
            "study": "",
            "attempts": 0,
            "due": now,
        }
        try:
            with self._writing() as connection:
                try:
                    done = connection.execute(_INSERT, values)
                except IntegrityError:
                    raise _Taken from None
                assert done.inserted_primary_key is not None
                _add_keys(connection, done.inserted_primary_key[0], _keys(kept.procedure))
        except _Taken:
            return False
        return True

    def load_procedure(self, uid: str) -> tuple[KeptProcedure, int] | None:
        """A step with its dataset, and the revision that it is of."""
        with self._transaction() as connection:
            row = connection.execute(_LOAD, {"the_uid": uid}).first()
        if row is None:
            return None
        kept = KeptProcedure(
            _summary(row.summary),
            row.content,
            row.transfer_syntax,
            tuple(json.loads(row.remarks)),
            row.calling_ae_title,
        )
        return kept, row.revision

    def replace_procedure(self, before: KeptProcedure, after: KeptProcedure, revision: int) -> bool:
        """Keep a changed step; False where it isn't of that revision any more."""
        now = self._clock()
        has_ended = after.procedure.state is not ProcedureState.IN_PROGRESS
        values = _values(after) | {
            "the_uid": before.procedure.uid,
            "the_revision": revision,
            "revision": revision + 1,
            "changed": now,
            "ended": now if has_ended else 0.0,
            "attempts": 0,
            "due": now,
        }
        new = _keys(after.procedure) - _keys(before.procedure)
        with self._writing() as connection:
            if connection.execute(_REPLACE_BY_UID, values).rowcount == 0:
                return False
            if new:
                number = connection.scalar(_ID, {"the_uid": before.procedure.uid})
                assert number is not None
                known = {
                    (row.kind, row.value) for row in connection.execute(_KEYS, {"the_id": number})
                }
                _add_keys(connection, number, new - known)
        return True

    # --- what the worker makes of it ---

    def due_procedures(self, limit: int = 100) -> list[ProcedureRecord]:
        """Steps to be looked at now, the longest waiting first."""
        with self._transaction() as connection:
            rows = connection.execute(_DUE, {"now": self._clock(), "most": limit})
            return [_record(row) for row in rows]

    def next_due_procedure(self) -> float | None:
        """When the next is to be looked at, if any is."""
        with self._transaction() as connection:
            found: float | None = connection.scalar(_NEXT_DUE)
        return found

    def note_procedure(
        self,
        record: ProcedureRecord,
        *,
        seconds: float | None,
        told: str | None = None,
        images: Images | None = None,
        arrivals: Iterable[SeriesArrival] | None = None,
        study: str | None = None,
    ) -> bool:
        """Keep what was found of a step, and when it is to be looked at again, None for never.
        False where the scanner changed it meanwhile: it is due already."""
        values: dict[str, Any] = {
            "the_id": record.id,
            "the_revision": record.revision,
            "attempts": record.attempts + 1,
            "due": None if seconds is None else self._clock() + seconds,
        }
        if told is not None:
            values["told"] = told
        if images is not None:
            values["images"] = images.value
        if arrivals is not None:
            values["arrivals"] = json.dumps([list(one) for one in arrivals])
        if study is not None:
            values["study"] = study
        with self._writing() as connection:
            return connection.execute(_REPLACE, values).rowcount > 0

    def wake_procedures(self, uids: Collection[str]) -> None:
        """These are to be looked at now."""
        if uids:
            with self._writing() as connection:
                connection.execute(
                    sa.update(procedures)
                    .where(procedures.c.uid.in_(uids), procedures.c.due.is_not(None))
                    .values(due=self._clock())
                )

    # --- what is asked about them ---

    def procedures_of(
        self, study: StudySummary, referenced: Collection[str] = ()
    ) -> list[ProcedureRecord]:
        """The steps that a study's images may be of, the oldest first: those that name it or one
        of its series, those of its images' station and PerformedProcedureStepID, and those that
        its images refer to by their UIDs."""
        keys = {("study", study.study_instance_uid)}
        keys |= {("series", one.series_instance_uid) for one in study.series}
        keys |= {
            ("pps", _pps(one.station_name, one.performed_procedure_step_id))
            for one in study.series
            if one.performed_procedure_step_id and one.station_name
        }
        return self._found(keys, referenced)

    def procedures_of_steps(self, step_ids: Collection[str]) -> list[ProcedureRecord]:
        """The performed steps of these scheduled ones, the oldest first."""
        return self._found({("step", step_id) for step_id in step_ids}, ())

    def _found(
        self, keys: Collection[tuple[str, str]], uids: Collection[str]
    ) -> list[ProcedureRecord]:
        rows: dict[int, Any] = {}
        by_kind: dict[str, list[str]] = {}
        for kind, value in keys:
            if value:
                by_kind.setdefault(kind, []).append(value[:LONGEST_KEY])
        with self._transaction() as connection:
            for kind, values in by_kind.items():
                for chunk in _chunks(values):
                    ids = sa.select(procedure_keys.c.procedure).where(
                        procedure_keys.c.kind == kind, procedure_keys.c.value.in_(chunk)
                    )
                    query = sa.select(*_SUMMARY).where(procedures.c.id.in_(ids))
                    rows |= {row.id: row for row in connection.execute(_newest(query))}
            for chunk in _chunks(list(uids)):
                query = sa.select(*_SUMMARY).where(procedures.c.uid.in_(chunk))
                rows |= {row.id: row for row in connection.execute(_newest(query))}
        return [_record(rows[key]) for key in sorted(rows)[-MOST_OF_A_STUDY:]]

    def find_procedure(self, uid: str) -> ProcedureRecord | None:
        """One step."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(*_SUMMARY).where(procedures.c.uid == uid)).first()
        return _record(row) if row else None

    def list_procedures(
        self, state: ProcedureState | None = None, *, limit: int = 100, before: int | None = None
    ) -> list[ProcedureRecord]:
        """The newest first, those before an id."""
        query = sa.select(*_SUMMARY).order_by(procedures.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(procedures.c.state == state.value)
        if before is not None:
            query = query.where(procedures.c.id < before)
        with self._transaction() as connection:
            return [_record(row) for row in connection.execute(query)]

    def changed_procedures(self, since: float, limit: int = 1000) -> list[ProcedureRecord]:
        """Steps that changed at a moment or later, in that order."""
        query = (
            sa.select(*_SUMMARY)
            .where(procedures.c.changed >= since)
            .order_by(procedures.c.changed, procedures.c.id)
            .limit(limit)
        )
        with self._transaction() as connection:
            return [_record(row) for row in connection.execute(query)]

    def procedure_counts(self) -> dict[str, int]:
        """How many there are in each state, and under "missing" those that lack images."""
        by_state = sa.select(procedures.c.state, sa.func.count()).group_by(procedures.c.state)
        missing = sa.select(sa.func.count()).where(procedures.c.images == Images.MISSING.value)
        with self._transaction() as connection:
            counts = {row[0]: row[1] for row in connection.execute(by_state)}
            return counts | {Images.MISSING.value: connection.scalar(missing) or 0}

    def expire_procedures(self, before: float, limit: int = 500) -> bool:
        """Forget steps that no scanner has changed since a moment; whether there may be more."""
        with self._writing() as connection:
            ids = list(
                connection.scalars(
                    sa.select(procedures.c.id).where(procedures.c.changed < before).limit(limit)
                )
            )
            for chunk in _chunks(ids):
                connection.execute(
                    sa.delete(procedure_keys).where(procedure_keys.c.procedure.in_(chunk))
                )
                connection.execute(sa.delete(procedures).where(procedures.c.id.in_(chunk)))
        return len(ids) == limit


class _Taken(Exception):
    """The UID is in use."""


def _newest(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(procedures.c.id.desc()).limit(MOST_OF_A_STUDY)


def _chunks(values: list[Any]) -> Iterator[list[Any]]:
    """SQLite takes 32,766 parameters, older ones 999."""
    return (values[at : at + 500] for at in range(0, len(values), 500))


def _add_keys(connection: sa.Connection, procedure: int, keys: Collection[tuple[str, str]]) -> None:
    if keys:
        connection.execute(
            _INSERT_KEYS,
            [{"kind": kind, "value": value, "procedure": procedure} for kind, value in keys],
        )


def _pps(station: str, performed_procedure_step_id: str) -> str:
    return f"{station}\\{performed_procedure_step_id}"


def _keys(procedure: PerformedProcedure) -> set[tuple[str, str]]:
    keys = {("study", one.study_instance_uid) for one in procedure.references}
    keys |= {("step", one.scheduled_procedure_step_id) for one in procedure.references}
    keys |= {("series", one.series_instance_uid) for one in procedure.series}
    if procedure.station_name and procedure.performed_procedure_step_id:
        keys.add(("pps", _pps(procedure.station_name, procedure.performed_procedure_step_id)))
    return {(kind, value[:LONGEST_KEY].replace("\0", "")) for kind, value in keys if value}


def _values(kept: KeptProcedure) -> dict[str, Any]:
    return {
        "state": kept.procedure.state.value,
        "content": kept.content,
        "summary": _json(kept.procedure),
        "remarks": json.dumps(kept.remarks),
    }


def _json(procedure: PerformedProcedure) -> str:
    reason = procedure.discontinuation
    return json.dumps(
        {
            "uid": procedure.uid,
            "state": procedure.state.value,
            "references": [
                [
                    one.study_instance_uid,
                    one.accession_number,
                    one.requested_procedure_id,
                    one.scheduled_procedure_step_id,
                ]
                for one in procedure.references
            ],
            "patient_id": procedure.patient_id,
            "station_ae_title": procedure.station_ae_title,
            "station_name": procedure.station_name,
            "performed_procedure_step_id": procedure.performed_procedure_step_id,
            "description": procedure.description,
            "modality": procedure.modality,
            "start": procedure.start,
            "end": procedure.end,
            "discontinuation": [reason.value, reason.scheme, reason.meaning] if reason else None,
            "series": [[one.series_instance_uid, one.instances] for one in procedure.series],
        }
    )


def _summary(text: str) -> PerformedProcedure:
    values = json.loads(text)
    reason = values["discontinuation"]
    return PerformedProcedure(
        **values
        | {
            "state": ProcedureState(values["state"]),
            "references": tuple(ScheduledReference(*one) for one in values["references"]),
            "discontinuation": DiscontinuationReason(*reason) if reason else None,
            "series": tuple(PerformedSeries(*one) for one in values["series"]),
        }
    )


def _record(row: Any) -> ProcedureRecord:
    return ProcedureRecord(
        id=row.id,
        revision=row.revision,
        procedure=_summary(row.summary),
        remarks=tuple(json.loads(row.remarks)),
        calling_ae_title=row.calling_ae_title,
        created=row.created,
        changed=row.changed,
        ended=row.ended,
        images=Images(row.images),
        arrivals=tuple(SeriesArrival(*one) for one in json.loads(row.arrivals)),
        study=row.study,
        attempts=row.attempts,
        told=row.told,
    )
