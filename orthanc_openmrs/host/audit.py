"""People's decisions in Orthanc's audit log, where this Orthanc has one (1.12.9, Python plugin 7.1;
it is kept where the database plugin can, as PostgreSQL's).

Decides: what an entry says: who, which operation, of which study. It names no patient but by the
ids that the path of the request has.
"""

import json
import logging
from collections.abc import Callable

from orthanc_openmrs.host.api import Orthanc
from orthanc_openmrs.mapping.studies import is_orthanc_id
from orthanc_openmrs.rest.router import Decision

_log = logging.getLogger(__name__)

SOURCE = "orthanc-openmrs"


def audit_log(host: Orthanc) -> Callable[[Decision], None]:
    """Notes a decision; nothing where this Orthanc has no audit log."""
    emit = getattr(host, "EmitAuditLog", None)
    if emit is None:
        return lambda decision: None
    levels = host.ResourceType

    def note(decision: Decision) -> None:
        study = decision.names.get("study", "")
        known = is_orthanc_id(study)
        try:
            emit(
                SOURCE,
                decision.user,
                levels.STUDY if known else levels.NONE,
                study if known else "",
                f"openmrs-{decision.operation}",
                json.dumps(decision.names).encode(),
            )
        except host.OrthancException as problem:
            _log.error("a decision isn't in Orthanc's audit log: %s", problem)

    return note
