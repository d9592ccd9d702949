"""Which Orthanc this is: a name that its index keeps, and the changes that it has.

Decides: where the name is kept, and that it is made once. Must not know: what it is compared with.
"""

import uuid
from collections.abc import Callable
from typing import Any

from orthanc_openmrs.host.api import Orthanc

PROPERTY = 20141
"""The number of Orthanc's global property; its own are below 1024."""


def identity_of(host: Orthanc) -> str:
    """The name that the index has; made now where it has none. Orthanc must have started."""
    known = host.GetGlobalProperty(PROPERTY, "")
    if not known:
        known = str(uuid.uuid4())
        host.SetGlobalProperty(PROPERTY, known)
    return known


def has_change(get: Callable[[str], Any], sequence: int, study: str) -> bool:
    """Whether Orthanc has the change of this number, about this study."""
    page = get(f"/changes?since={sequence - 1}&limit=1")
    return any((change["Seq"], change["ID"]) == (sequence, study) for change in page["Changes"])
