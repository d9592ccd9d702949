"""The list as scanners see it, at one moment: items in order, and the index on them.

Decides: which items are looked at for a query. A snapshot never changes; the next one takes
over the items of the requests that are unchanged. Must not know: OpenMRS, Orthanc, the clock.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from orthanc_openmrs.model import ImagingRequest, Rejected, RequestList, Source
from orthanc_openmrs.worklist.attributes import POSITION
from orthanc_openmrs.worklist.items import PersonNames, Shared, WorklistItem, build_items
from orthanc_openmrs.worklist.matching import Rule, indexed
from orthanc_openmrs.worklist.uids import GivenUids

INDEXED = (
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "Modality",
    "PatientID",
)
_DATE = "ScheduledProcedureStepStartDate"

_Index = Mapping[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class _Built:
    """The items of one request, and what they depend on."""

    request: ImagingRequest
    concerning: tuple[object, ...]
    day: str
    items: tuple[WorklistItem, ...]


@dataclass(frozen=True, slots=True)
class PartRead:
    """When a source's part of the list was read, and whether it is in the list: it isn't where it
    is too old."""

    source: Source
    read_at: float
    began: float
    served: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The list at one moment.

    `items` are all steps, by date, time and id; `offered` those that scanners can get;
    `skipped` counts what they should get and can't.
    `read_at` is when OpenMRS was asked for the list (seconds since the epoch), `began` the same
    moment by this process's own clock, which can't jump (-inf where another process read it); of
    several sources, the oldest of what is in the list. `parts` has each source's own. `day` is the
    date (DA) that counts as today, `given` the StudyInstanceUIDs that were given out before. Build
    it with `build`.
    """

    requests: tuple[ImagingRequest, ...]
    items: tuple[WorklistItem, ...]
    offered: tuple[WorklistItem, ...]
    skipped: int
    rejected: tuple[Rejected, ...]
    generation: str
    read_at: float
    began: float
    day: str
    names: PersonNames
    parts: tuple[PartRead, ...]
    given: GivenUids
    _by_step: Mapping[str, WorklistItem]
    _index: Mapping[str, _Index]
    _dates: tuple[str, ...]
    _built: Mapping[ImagingRequest, _Built]

    @classmethod
    def build(
        cls,
        found: RequestList,
        *,
        read_at: float,
        day: str,
        names: PersonNames | None = None,
        previous: "Snapshot | None" = None,
        began: float = -math.inf,
        parts: tuple[PartRead, ...] = (),
        given: GivenUids | None = None,
    ) -> "Snapshot":
        """Make a snapshot of a list, with the items of `previous` where nothing changed."""
        names, given = names or PersonNames(), given or GivenUids()
        shared = Shared.of(found.requests, names, given)
        before = previous._built if previous else {}
        built: dict[ImagingRequest, _Built] = {}
        requests: list[ImagingRequest] = []
        items: list[WorklistItem] = []
        kinds: dict[tuple[object, ...], tuple[object, ...]] = {}  # thousands are of a few kinds
        for request in found.requests:
            concerning = shared.concerning(request)
            concerning = kinds.setdefault(concerning, concerning)
            old = before.get(request)
            if (
                old is not None
                and old.concerning == concerning
                and shared.keeps_uid(old.items)
                and (old.day == day or not any(item.undated for item in old.items))
            ):
                made = old
            else:
                made = _Built(request, concerning, day, tuple(build_items(request, shared, day)))
            built[made.request] = made
            requests.append(made.request)
            items += made.items
        items.sort(key=_order)
        offered = tuple(item for item in items if item.offered)
        index = {keyword: _index(offered, keyword) for keyword in INDEXED}
        return cls(
            requests=tuple(requests),
            items=tuple(items),
            offered=offered,
            skipped=sum(item.step.status.is_open and not item.step.withheld for item in items)
            - len(offered)
            + len(found.rejected),
            rejected=found.rejected,
            generation=found.generation,
            read_at=read_at,
            began=began,
            day=day,
            names=names,
            parts=parts or (PartRead(Source.IMAGING, read_at, began),),
            given=given,
            _by_step={item.step.scheduled_procedure_step_id: item for item in items},
            _index=index,
            _dates=tuple(sorted(index[_DATE])),
            _built=built,
        )

    def at(
        self,
        *,
        day: str,
        names: PersonNames,
        read_at: float | None = None,
        began: float | None = None,
        parts: tuple[PartRead, ...] | None = None,
    ) -> "Snapshot":
        """The same list, read again later, on another day, or with more names known."""
        same_read = read_at is None and began is None
        read_at = self.read_at if read_at is None else read_at
        began = self.began if began is None else began
        if parts is None:
            parts = self.parts if same_read else (PartRead(Source.IMAGING, read_at, began),)
        if day == self.day and names is self.names:
            return replace(self, read_at=read_at, began=began, parts=parts)
        found = RequestList(self.requests, self.rejected, self.generation)
        return Snapshot.build(
            found,
            read_at=read_at,
            began=began,
            day=day,
            names=names,
            previous=self,
            parts=parts,
            given=self.given,
        )

    def part(self, source: Source) -> PartRead | None:
        """When a source was read, None where it never was."""
        return next((one for one in self.parts if one.source is source), None)

    def as_of(self, source: Source) -> "Snapshot":
        """The same list, as fresh as one source's part is."""
        part = self.part(source)
        if part is None or (part.read_at, part.began) == (self.read_at, self.began):
            return self
        return replace(self, read_at=part.read_at, began=part.began)

    def only(self, source: Source) -> "Snapshot":
        """A source's requests alone, as fresh as they are; items are those of all."""
        if len(self.parts) == 1:
            return self
        requests = tuple(request for request in self.requests if request.source is source)
        return replace(self.as_of(source), requests=requests)

    @property
    def lacks_steps(self) -> bool:
        """Whether the Imaging module gives requests, but not one step."""
        imaging = tuple(one for one in self.requests if one.source is Source.IMAGING)
        return RequestList(imaging, self.rejected).lacks_steps

    def step(self, scheduled_procedure_step_id: str) -> WorklistItem | None:
        """The item of a step, offered or not."""
        return self._by_step.get(scheduled_procedure_step_id)

    def select(self, rules: Iterable[Rule]) -> list[WorklistItem]:
        """The offered items that pass every rule, in order."""
        sets: list[frozenset[int]] = []
        rest: list[Rule] = []
        for rule in rules:
            positions = self._positions(rule)
            if positions is None:
                rest.append(rule)
            else:
                sets.append(positions)
        offered = self.offered
        if sets:
            sets.sort(key=len)
            candidates = sets[0].intersection(*sets[1:])
            chosen: Iterable[WorklistItem] = (offered[at] for at in sorted(candidates))
        else:
            chosen = offered
        return [item for item in chosen if all(rule.passes(item) for rule in rest)]

    def _positions(self, rule: Rule) -> frozenset[int] | None:
        index = self._index.get(rule.index)
        if index is None:
            return None
        if rule.exact is not None:
            values: Iterable[str] = rule.exact
        elif rule.interval is not None:
            first, last = rule.interval
            values = self._dates[bisect_left(self._dates, first) : bisect_right(self._dates, last)]
        else:
            return None
        found = [index[value] for value in values if value in index]
        if len(found) == 1:
            return found[0]
        return frozenset().union(*found)


def _order(item: WorklistItem) -> tuple[str, str, int, str]:
    step_id = item["ScheduledProcedureStepID"]
    return (
        item["ScheduledProcedureStepStartDate"],
        item["ScheduledProcedureStepStartTime"],
        len(step_id),
        step_id,
    )


def _index(items: Iterable[WorklistItem], keyword: str) -> _Index:
    position = POSITION[keyword]
    found: dict[str, list[int]] = defaultdict(list)
    for at, item in enumerate(items):
        found[indexed(keyword, item.values[position])].append(at)
    return {value: frozenset(positions) for value, positions in found.items()}
