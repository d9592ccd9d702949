"""The words that find a step of the list.

Decides: in which values of a step they are looked for. The words themselves are found as those of
a study are. What is made of a list is kept until there is another. Knows no request.
"""

import threading
from collections.abc import Sequence

from orthanc_openmrs.mapping.likeness import consonants, read_names
from orthanc_openmrs.mapping.search import Entry, Index, plain, words_of
from orthanc_openmrs.worklist.items import WorklistItem

SEARCHED = (
    "PatientName",
    "PatientID",
    "AccessionNumber",
    "RequestedProcedureID",
    "ScheduledProcedureStepID",
    "ScheduledStationAETitle",
    "Modality",
    "ScheduledProcedureStepDescription",
    "RequestedProcedureDescription",
    "ScheduledProcedureStepStartDate",
)
"""Beside them the accession number as OpenMRS has it, and the step's status."""


class StepSearch:
    """Finds steps of the list that is given. It may be asked by several threads at once."""

    def __init__(self) -> None:
        self._items: Sequence[WorklistItem] = ()
        self._index = Index()
        self._lock = threading.Lock()

    def matching(self, typed: str, items: Sequence[WorklistItem]) -> set[int]:
        """The `id()` of each step of a list that has every word, or a name spelled otherwise."""
        if not words_of(typed):
            return {id(item) for item in items}
        with self._lock:
            if items is not self._items:
                self._index = Index()
                for item in items:
                    self._index.put(_entry(item))
                self._items = items
            return set(map(int, self._index.search(typed)))


def _entry(item: WorklistItem) -> Entry:
    names = read_names(item["PatientName"])
    words = tuple(dict.fromkeys(word for name in names for word in name.words))
    texts = (*(item[key] for key in SEARCHED), item.request.accession_number, item.step.status)
    return Entry(
        str(id(item)),
        text=" ".join((*(plain(text) for text in texts if text), *words)),
        words=words,
        sounds=tuple({consonants(word) for one in names if one.foreign for word in one.words}),
    )
