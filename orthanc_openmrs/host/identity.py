"""Which Orthanc this is: a name that its index keeps, and the changes that it has.

Decides: where the name and the mark are kept, and that the name is made once. Must not know: what
it is compared with.
"""

import uuid
from collections.abc import Callable
from typing import Any

from orthanc_openmrs.host.api import Orthanc

PROPERTY = 20141
MARK_PROPERTY = 20142
"""The numbers of Orthanc's global properties; its own are below 1024."""


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


class SettledMark:
    """The change up to which nothing was left to do, kept in Orthanc's index."""

    def __init__(self, host: Orthanc) -> None:
        self._host = host

    def load(self) -> int | None:
        """The change, None where the plugin is new to this index."""
        text = self._host.GetGlobalProperty(MARK_PROPERTY, "")
        return int(text) if text.isascii() and text.isdigit() else None

    def save(self, sequence: int) -> None:
        """Keep it."""
        self._host.SetGlobalProperty(MARK_PROPERTY, str(sequence))
