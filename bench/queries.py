"""What the scanners ask, and how many answers are right.

Decides: the identifiers, the same for every peer. Must not know: who answers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as DicomSequence

from bench.client import find_request
from orthanc_openmrs.worklist.items import WorklistItem
from trial.scanner import STEP, USUAL_KEYS

ONE, TENTH, ALL = "station and day", "modality", "everything"
NAMES = (ONE, TENTH, ALL)


@dataclass(frozen=True, slots=True)
class Asked:
    """One query: `name` for people, `calling` the AE title that asks it (the floor knows a
    query by it), `step_keys` what it asks of the step, `expected` the number of its answers."""

    name: str
    calling: str
    step_keys: Mapping[str, str]
    expected: int

    @property
    def identifier(self) -> bytes:
        """The keys that a scanner usually asks for, in explicit VR little endian."""
        query, step = Dataset(), Dataset()
        for key in USUAL_KEYS:
            if key.startswith(STEP):
                keyword = key.removeprefix(STEP)
                setattr(step, keyword, self.step_keys.get(keyword, ""))
            else:
                setattr(query, key, "")
        query.ScheduledProcedureStepSequence = DicomSequence([step])
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_dataset(buffer, query)
        return buffer.getvalue()

    @property
    def request(self) -> bytes:
        """The C-FIND-RQ."""
        return find_request(self.identifier)

    @property
    def findscu_keys(self) -> tuple[str, ...]:
        """The same keys as DCMTK's findscu takes them."""
        return (*USUAL_KEYS, *(f"{STEP}{key}={text}" for key, text in self.step_keys.items()))


def queries(items: Sequence[WorklistItem]) -> tuple[Asked, ...]:
    """The three queries on these items.

    The station and day are those with the fewest steps, the first of them.
    """
    places = Counter(
        (item["ScheduledStationAETitle"], item["ScheduledProcedureStepStartDate"]) for item in items
    )
    (station, day), _ = min(places.items(), key=lambda entry: (entry[1], entry[0][::-1]))
    place = {"ScheduledStationAETitle": station, "ScheduledProcedureStepStartDate": day}
    return tuple(
        Asked(name, calling, keys, sum(_has(item, keys) for item in items))
        for name, calling, keys in (
            (ONE, "ONE", place),
            (TENTH, "TENTH", {"Modality": "CT"}),
            (ALL, "ALL", {}),
        )
    )


def _has(item: WorklistItem, keys: Mapping[str, str]) -> bool:
    return all(item[key] == text for key, text in keys.items())
