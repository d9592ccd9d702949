"""The worklist as it is served: the current snapshot, the stations, the age limit.

Decides: what one scanner gets for one query, and when no answer is better than an old one.
No query waits for anything here. Must not know: where the list comes from.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from orthanc_openmrs.errors import WorklistUnavailable
from orthanc_openmrs.model import Source
from orthanc_openmrs.worklist.charset import STATION_CHARSETS, UNICODE
from orthanc_openmrs.worklist.datasets import Encoder, layout
from orthanc_openmrs.worklist.host_matcher import HostMatcher
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.matching import (
    Caller,
    Rule,
    StartTimes,
    Station,
    StationTitles,
    interval_rules,
    rules,
)
from orthanc_openmrs.worklist.query import Query, parse_query
from orthanc_openmrs.worklist.snapshot import Snapshot

REMEMBERED_QUERIES = 512
"""Prepared queries that are kept: a scanner asks the same again and again."""

REMEMBERED_QUERY_SIZE = 16 * 1024
"""Bytes of an identifier above which it isn't kept."""


@dataclass(frozen=True, slots=True)
class StationRules:
    """`OpenMRS.Stations`, `OpenMRS.StationFilter` and Orthanc's `DefaultEncoding`."""

    stations: Mapping[str, Station] = field(default_factory=dict)
    own_steps_only: bool = False
    codec: str = "iso8859-1"
    case_sensitive_names: bool = False

    @property
    def host(self) -> HostMatcher:
        """Orthanc's own matcher under its configuration."""
        return HostMatcher(self.codec, self.case_sensitive_names)

    def caller(self, ae_title: str) -> Caller:
        """The caller behind an AE title. Its rules are found without regard to case and blanks."""
        title = ae_title.strip()
        alike = (one for one in self.stations if one.strip().casefold() == title.casefold())
        known = title if title in self.stations else next(alike, None)
        if known is None:
            return Caller(title, Station(), self.own_steps_only, (self.codec,))
        station = self.stations[known]
        if known != title:
            station = replace(station, ae_titles=(known.strip(), *station.ae_titles))
        codecs = {STATION_CHARSETS.get(station.charset, self.codec): None, self.codec: None}
        if len(codecs) > 1:
            codecs.pop(UNICODE[0], None)
        return Caller(title, station, self.own_steps_only, tuple(codecs))


class _Identifier:
    """The identifier of a query, equal to the same scanner's next one.

    Orthanc gives it as a file, with a MediaStorageSOPInstanceUID that is made anew each time.
    """

    __slots__ = ("_lasting", "whole")

    def __init__(self, whole: bytes) -> None:
        self.whole = whole
        self._lasting = whole
        start = whole.find(_SOP_INSTANCE, _META, _META + 256) if whole[128:132] == b"DICM" else -1
        if start >= 0:
            length = int.from_bytes(whole[start + 6 : start + 8], "little")
            self._lasting = whole[_META:start] + whole[start + 8 + length :]

    def __hash__(self) -> int:
        return hash(self._lasting)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identifier) and self._lasting == other._lasting


_META = 144  # after the preamble, "DICM" and the group length, which varies too
_SOP_INSTANCE = b"\x02\x00\x03\x00UI"


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A query of one caller on one day, ready to be asked of any snapshot."""

    titles: StationTitles
    times: StartTimes
    caller: Caller
    rules: tuple[Rule, ...]
    interval_rules: tuple[Rule, ...] | None
    encoder: Encoder

    def answer(self, item: WorklistItem) -> bytes:
        """The answer for an item that passed the rules."""
        title = self.titles.answered(item["ScheduledStationAETitle"]) or self.caller.ae_title
        time = self.times.answered(item) if item.untimed else None
        return self.encoder.encode(item, title, time or "")


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to a C-FIND: datasets in UTF-8 explicit VR little endian.

    `beyond` counts the steps that the standard would add and that Orthanc would drop.
    """

    datasets: list[bytes]
    beyond: int = 0


class Found(NamedTuple):
    """A step that a search finds, with the AE title and the time that its answer has."""

    item: WorklistItem
    ae_title: str
    start_time: str


class Worklist:
    """The current list. Reads are lock-free: a snapshot is replaced whole. `mark` is what the Lua
    filter, where it is installed, puts before a query."""

    def __init__(
        self,
        station_rules: StationRules,
        *,
        max_staleness: float,
        mark: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stations = station_rules
        self._host = station_rules.host
        self._mark = mark
        self._max_staleness = max_staleness
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._revision = 0
        self._remembered = lru_cache(REMEMBERED_QUERIES)(self._prepare)

    @property
    def snapshot(self) -> Snapshot | None:
        """The current snapshot, however old; None before the first list."""
        return self._snapshot

    @property
    def revision(self) -> str:
        """Another text for another list, after a restart too; "" before the first list."""
        return f"{self._revision:x}" if self._revision else ""

    @property
    def stations(self) -> list[str]:
        """The AE titles that have rules of their own."""
        return sorted(self._stations.stations)

    def replace(self, snapshot: Snapshot) -> None:
        """Serve another snapshot from now on."""
        before, self._snapshot = self._snapshot, snapshot
        if before is None or before.items is not snapshot.items:
            self._revision = max(self._revision + 1, int(self._clock() * 1000))

    def age(self, source: Source | None = None) -> float | None:
        """Seconds since OpenMRS gave the list (of several parts, the oldest), or that of a source;
        None before the first one."""
        parts = self._snapshot.parts if self._snapshot else ()
        found = [part.read_at for part in parts if source in (None, part.source)]
        return max(0.0, self._clock() - min(found)) if found else None

    @property
    def stale(self) -> bool:
        """Whether the list is too old to be served, or was never read. A source that is down costs
        itself only: its part alone leaves the list when it is too old."""
        age = self._age_of_newest()
        return age is None or age > self._max_staleness

    def _age_of_newest(self) -> float | None:
        snapshot = self._snapshot
        if snapshot is None:
            return None
        return max(0.0, self._clock() - max(part.read_at for part in snapshot.parts))

    def fresh(self) -> Snapshot:
        """The snapshot to answer from. Raises WorklistUnavailable where it is stale."""
        snapshot = self._snapshot
        if snapshot is None:
            raise WorklistUnavailable("no worklist was read from OpenMRS yet")
        if self.stale:
            raise WorklistUnavailable(
                f"the worklist is {self._age_of_newest():.0f} s old; MaxStaleness is "
                f"{self._max_staleness:g} s"
            )
        return snapshot

    def answers(self, identifier: bytes, calling_ae_title: str) -> Answers:
        """What answers a C-FIND.

        Raises ValueError for an identifier that is no dataset, WorklistUnavailable.
        """
        snapshot = self.fresh()
        day = self.today()
        if len(identifier) > REMEMBERED_QUERY_SIZE:
            prepared = self._prepare(_Identifier(identifier), calling_ae_title, day)
        else:
            prepared = self._remembered(_Identifier(identifier), calling_ae_title, day)
        datasets = [prepared.answer(item) for item in snapshot.select(prepared.rules)]
        if prepared.interval_rules is None:
            return Answers(datasets)
        return Answers(datasets, len(snapshot.select(prepared.interval_rules)) - len(datasets))

    def find(self, query: Query) -> list[Found]:
        """What a query finds that no station asks: the rules of stations hold for none. Raises
        WorklistUnavailable."""
        caller = Caller("")
        titles, times = StationTitles(query, caller, self._host), StartTimes(query, self._host)
        return [
            Found(
                item,
                titles.answered(item["ScheduledStationAETitle"]) or "",
                (times.answered(item) if item.untimed else None) or "",
            )
            for item in self.fresh().select(rules(query, caller, self._day, self._host))
        ]

    def seen_by(self, ae_title: str, query: Query | None = None) -> list[WorklistItem]:
        """The items that a station would get for a query that names no key, or for `query`."""
        return self.fresh().select(self.rules(ae_title, query or Query((), ())))

    def rules(self, ae_title: str, query: Query) -> tuple[Rule, ...]:
        """The rules that decide for a station and a query, to explain them."""
        caller = self._stations.caller(ae_title)
        return rules(query, caller, self._day, self._host)

    def today(self) -> str:
        """Today's date (DA) where Orthanc runs."""
        return self._day(0)

    def _day(self, offset: int) -> str:
        now = time.localtime(self._clock())
        # Noon, so that a change to or from summer time can't reach another day.
        noon = time.mktime((now.tm_year, now.tm_mon, now.tm_mday + offset, 12, 0, 0, 0, 0, -1))
        return time.strftime("%Y%m%d", time.localtime(noon))

    def _prepare(self, identifier: "_Identifier", calling_ae_title: str, day: str) -> _Prepared:
        query = parse_query(identifier.whole, self._mark)
        caller = self._stations.caller(calling_ae_title)
        return _Prepared(
            StationTitles(query, caller, self._host),
            StartTimes(query, self._host),
            caller,
            rules(query, caller, self._day, self._host),
            interval_rules(query, caller, self._day, self._host),
            Encoder(layout(query), caller.codecs),
        )
