"""The service class provider: a scanner's request → what is kept, and the standard's status.

Decides: that an answer is given when the step is on disk, and which status a failure has. Used by
DIMSE and by HTTP alike. Must not know: sockets, SQL, what a step means to OpenMRS.
"""

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from orthanc_openmrs.dimse.messages import Handler, Operation, Reply, Request
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import KeptProcedure
from orthanc_openmrs.mpps import procedure
from orthanc_openmrs.mpps.datasets import EXPLICIT
from orthanc_openmrs.mpps.procedure import Refused

_log = logging.getLogger(__name__)

TRIES = 5
"""How often an N-SET is tried where others change the step at the same moment."""

_UID = re.compile(r"[0-9.]{1,64}")


class Steps(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def create_procedure(self, kept: KeptProcedure) -> bool: ...
    def load_procedure(self, uid: str) -> tuple[KeptProcedure, int] | None: ...
    def replace_procedure(
        self, before: KeptProcedure, after: KeptProcedure, revision: int
    ) -> bool: ...


class Provider:
    """Creates, updates and retrieves steps; safe for several threads."""

    def __init__(self, steps: Steps, on_news: Callable[[], None]) -> None:
        """`on_news` hears of every step that was created or changed."""
        self._steps = steps
        self._on_news = on_news

    def create(self, uid: str, content: bytes, transfer_syntax: str, caller: str = "") -> str:
        """A new step; its UID, made here where none is given. Raises Refused, StoreError."""
        uid = _checked(uid or f"2.25.{uuid.uuid4().int}")
        kept = procedure.create(uid, content, transfer_syntax)
        if not self._steps.create_procedure(replace(kept, calling_ae_title=caller)):
            raise Refused(procedure.DUPLICATE_SOP_INSTANCE, "this UID is in use")
        _remark(kept, ())
        self._on_news()
        return uid

    def update(self, uid: str, content: bytes, transfer_syntax: str) -> None:
        """Change a step. Raises Refused, StoreError."""
        for _ in range(TRIES):
            before, revision = self._found(uid)
            after = procedure.update(before, content, transfer_syntax)
            if self._steps.replace_procedure(before, after, revision):
                _remark(after, before.remarks)
                self._on_news()
                return
        raise Refused(procedure.PROCESSING_FAILURE, "others change this step all the time")

    def retrieve(
        self, uid: str, attributes: Iterable[int] = (), transfer_syntax: str = EXPLICIT
    ) -> bytes:
        """A step's dataset. Raises Refused, StoreError."""
        return procedure.retrieve(self._found(uid)[0], attributes, transfer_syntax)

    def has(self, uid: str) -> bool:
        """Whether there is such a step. Raises StoreError."""
        return self._steps.load_procedure(uid) is not None

    def _found(self, uid: str) -> tuple[KeptProcedure, int]:
        found = self._steps.load_procedure(_checked(uid))
        if found is None:
            raise Refused(procedure.NO_SUCH_SOP_INSTANCE, "there is no such step")
        return found


def _checked(uid: str) -> str:
    if not _UID.fullmatch(uid):
        raise Refused(procedure.INVALID_OBJECT_INSTANCE, "this is no UID")
    return uid


def _remark(kept: KeptProcedure, before: tuple[str, ...]) -> None:
    new = [one for one in kept.remarks if one not in before]
    if new:
        _log.info("performed procedure step %s: %s", kept.procedure.uid, "; ".join(new))


# --- by DIMSE ------------------------------------------------------------------------------


def services(provider: Provider) -> Mapping[str, Mapping[Operation, Handler]]:
    """What the DIMSE server answers: abstract syntax → operation → handler."""

    def create(request: Request) -> Reply:
        uid = provider.create(
            request.sop_instance_uid,
            request.dataset or b"",
            request.transfer_syntax,
            request.calling_ae_title,
        )
        return Reply(sop_instance_uid=uid)

    def update(request: Request) -> Reply:
        provider.update(request.sop_instance_uid, request.dataset or b"", request.transfer_syntax)
        return Reply()

    def retrieve(request: Request) -> Reply:
        return Reply(
            dataset=provider.retrieve(
                request.sop_instance_uid, request.attributes, request.transfer_syntax
            )
        )

    return {
        procedure.SOP_CLASS: {
            Operation.N_CREATE: _answered(create),
            Operation.N_SET: _answered(update),
        },
        procedure.RETRIEVE_SOP_CLASS: {Operation.N_GET: _answered(retrieve)},
    }


def _answered(handler: Handler) -> Handler:
    def answer(request: Request) -> Reply:
        try:
            return handler(request)
        except Refused as refusal:
            _log.warning(
                "%s: %s of %s is refused (%04X): %s",
                request.calling_ae_title,
                Operation(request.command).name.replace("_", "-"),
                request.sop_instance_uid[:64] or "a new step",
                refusal.status,
                refusal,
            )
            return Reply(refusal.status, error_comment=str(refusal), error_id=refusal.error_id)
        except StoreError as problem:
            _log.error("%s: a step can't be kept: %s", request.calling_ae_title, problem)
            return Reply(procedure.PROCESSING_FAILURE, error_comment="the database fails")

    return answer
