"""OpenMRS's routes of orders: the list of them, one of them, and its fulfiller's details.

Decides: how a list that moves while it is read becomes one that is whole, and when only what is
new is asked for. OpenMRS gives orders in pages by position, the newest first, so that each order
that comes or goes meanwhile moves the others; and nothing of it tells what changed. Must not
know: HTTP's ways, what the orders are for.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Answer, Order, OrderList, StepStatus
from orthanc_openmrs.openmrs.orders import (
    MOST_PREVIOUS,
    PREVIOUS_REPRESENTATION,
    REPRESENTATION,
    Page,
    fulfilment,
    read_order,
    read_orders,
    read_page,
    unknown_previous,
)
from orthanc_openmrs.openmrs.transport import MAX_PAGE, Transport

PAGE = 100
"""Orders asked for at once: more is a 500, unless the site raised core's limit."""

SMALL_PAGE = 50
"""The same where a site has lowered that limit: what core gives where nothing is said."""

OVERLAP = 5
"""Orders of a page that are asked for again with the next one. Where none of them comes again, so
many went meanwhile that others may be hidden between the pages."""

TRIES = 4
"""Times that a list is begun anew that moved too far while it was read."""

WHOLE_REST = 4
"""Times that the whole list took, in which only the orders of the last days are read again."""

RECENT_DAYS = 1
"""Days before today that are read each time: the server's today may be another one than ours."""

MAX_ORDER = 1024 * 1024
"""Bytes read of one order."""

_Elements = dict[str, Mapping[str, Any]]


class _Moved(Exception):
    """The list moved too far between two pages."""


@dataclass(slots=True)
class _Known:
    """The list that was read last, by uuid; when all of it was, and how long that took."""

    orders: _Elements = field(default_factory=dict)
    since: str = ""
    ended: float = 0.0
    took: float = 0.0


class OrderClient:
    """The orders of some types on one OpenMRS. `get_list` is for one thread, the others for any.

    `today` is OpenMRS's date as far as it is known; `monotonic` a clock that can't jump.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        rest_url: str,
        order_types: Sequence[str],
        days_back: int,
        timeout: float = 10,
        max_response_size: int = 64 * 1024 * 1024,
        today: Callable[[], date] = date.today,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._url = f"{rest_url}/order"
        self._order_types = ",".join(order_types)
        self._days_back = days_back
        self._timeout = timeout
        self._max_size = max_response_size
        self._today = today
        self._monotonic = monotonic
        self._limit = PAGE
        self._known = _Known()
        self._before: dict[str, Mapping[str, Any] | None] = {}

    # --- the list ---

    def get_list(self) -> bytes:
        """The orders as a JSON array, in the order of their uuids: the same bytes while nothing
        changed. Raises OpenMRSError."""
        known, began = self._known, self._monotonic()
        since = self._day(self._days_back)
        if known.since == since and began - known.ended < WHOLE_REST * known.took:
            recent = self._day(RECENT_DAYS)
            found = {
                uuid: one for uuid, one in known.orders.items() if not _is_since(one, recent)
            } | self._read_all(recent)
            self._known = _Known(found, since, known.ended, known.took)
        else:
            found = self._read_all(since)
            ended = self._monotonic()
            self._known = _Known(found, since, ended, ended - began)
        return _as_array(found)

    def _day(self, back: int) -> str:
        """A date as OpenMRS takes it: what it compares are whole days of its own zone."""
        return (self._today() - timedelta(days=back)).isoformat()

    def _read_all(self, since: str) -> _Elements:
        for _ in range(TRIES):
            try:
                found = self._read_pages(since)
            except _Moved:
                continue
            self._complete(found)
            return found
        raise OpenMRSError("timeout", "the orders change faster than they can be read")

    def _read_pages(self, since: str) -> _Elements:
        found: _Elements = {}
        start = size = 0
        while True:
            page, length = self._page(since, start)
            size += length
            if size > self._max_size:
                raise OpenMRSError("too-big", f"the orders are longer than {self._max_size} bytes")
            uuids = [_uuid_of(one, start + at) for at, one in enumerate(page.orders)]
            if start and not any(uuid in found for uuid in uuids):
                raise _Moved
            new = [uuid for uuid in uuids if uuid not in found]
            found.update(zip(uuids, page.orders, strict=True))
            if not page.more:
                break
            if not new:
                raise _Moved  # or a server that gives the same page for ever
            start += max(1, len(uuids) - OVERLAP)
        if start and len(found) < page.total:
            # Orders that came meanwhile stand on the first page; else some were hidden.
            first, _ = self._page(since, 0)
            found |= {_uuid_of(one, at): one for at, one in enumerate(first.orders)}
            if len(found) < first.total:
                raise _Moved
        return found

    def _page(self, since: str, start: int) -> tuple[Page, int]:
        answer = self._ask_page(since, start)
        if answer.status == 500 and start:
            raise _Moved  # the list is shorter than that by now
        if answer.status == 500 and self._limit == PAGE:
            smaller = self._ask_page(since, start, SMALL_PAGE)
            if smaller.status == 200:
                self._limit, answer = SMALL_PAGE, smaller
        _refuse(answer)
        return read_page(answer.body), len(answer.body)

    def _ask_page(self, since: str, start: int, limit: int = 0) -> Answer:
        return self._transport.ask(
            "GET",
            self._url,
            timeout=self._timeout,
            limit=self._max_size,
            params={
                "orderTypes": self._order_types,
                "activatedOnOrAfterDate": since,
                "excludeCanceledAndExpired": "true",
                "excludeDiscontinueOrders": "true",
                "totalCount": "true",
                "limit": str(limit or self._limit),
                "startIndex": str(start),
                "v": REPRESENTATION,
            },
        )

    def _complete(self, found: _Elements) -> None:
        """Ask for the orders before those that were revised more often than is shown at once.
        What was before an order never changes."""
        wanted: dict[str, Mapping[str, Any] | None] = {}
        for uuid, one in found.items():
            if unknown_previous(one):
                found[uuid] = self._with_previous(one, wanted)
        self._before = wanted

    def _with_previous(
        self, one: Mapping[str, Any], wanted: dict[str, Mapping[str, Any] | None]
    ) -> Mapping[str, Any]:
        for _ in range(MOST_PREVIOUS):
            uuid = unknown_previous(one)
            if not uuid:
                break
            before = self._before.get(uuid) or self._get(uuid, PREVIOUS_REPRESENTATION)
            wanted[uuid] = before
            if before is None:
                break
            one = _replaced(one, uuid, before)
        return one

    def first_orders(self) -> tuple[OrderList, int]:
        """The newest orders, and how many there are in all. Raises OpenMRSError."""
        page, _ = self._page(self._day(self._days_back), 0)
        found = {_uuid_of(one, at): one for at, one in enumerate(page.orders)}
        return read_orders(_as_array(found)), max(page.total, len(found))

    # --- one order ---

    def get_order(self, uuid_or_number: str) -> Order | None:
        """One order as it is now, None where there is none. Raises OpenMRSError."""
        found = self._get(uuid_or_number, REPRESENTATION)
        if found is None:
            return None
        try:
            return read_order(found)
        except ValueError as problem:
            raise OpenMRSError("not-a-list", f"the order {problem}") from None

    def _get(self, uuid_or_number: str, representation: str) -> Mapping[str, Any] | None:
        answer = self._transport.ask(
            "GET",
            f"{self._url}/{quote(uuid_or_number, safe='')}",
            timeout=self._timeout,
            limit=MAX_ORDER,
            params={"v": representation},
        )
        if answer.status == 404 and answer.body.lstrip()[:1] == b"{":
            return None
        _refuse(answer)
        try:
            document = json.loads(answer.body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise OpenMRSError("not-a-list", "the answer is no order of core REST")
        return document

    def post_fulfilment(self, uuid: str, status: StepStatus, comment: str = "") -> Answer:
        """Tell the fulfiller status; any HTTP status is an answer.

        Raises OpenMRSError where there is none; it may have been saved all the same.
        """
        return self._transport.ask(
            "POST",
            f"{self._url}/{quote(uuid, safe='')}/fulfillerdetails/",
            timeout=self._timeout,
            limit=MAX_PAGE,
            json=fulfilment(status, comment),
        )


def _refuse(answer: Answer) -> None:
    """Raise where an answer isn't what was asked for."""
    if not answer.problem:
        return
    is_cores = answer.body.lstrip()[:1] == b"{"
    kind = _OF_ORDERS.get(answer.problem, answer.problem) if is_cores else answer.problem
    raise OpenMRSError(kind, f"of the orders: HTTP {answer.status}")


_OF_ORDERS = {"privilege": "orders-privilege", "not-found": "orders-unknown"}
"""What core says of orders with a status that means something else of the Imaging module."""


def _uuid_of(one: Mapping[str, Any], position: int) -> str:
    """What names an order in its list; one without a uuid is kept to be reported."""
    uuid = one.get("uuid")
    return uuid if isinstance(uuid, str) and uuid else f" {position}"


def _is_since(one: Mapping[str, Any], day: str) -> bool:
    """Whether an order was placed on a day of the server's or later; true where that isn't told."""
    placed = one.get("dateActivated")
    return not isinstance(placed, str) or placed[:10] >= day


def _as_array(found: _Elements) -> bytes:
    texts = (
        json.dumps(found[uuid], ensure_ascii=False, separators=(",", ":")) for uuid in sorted(found)
    )
    return f"[{','.join(texts)}]".encode("utf-8", "replace")


def _replaced(one: Mapping[str, Any], uuid: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """An order whose chain of previous ones goes on with what is known of the last."""
    if one.get("uuid") == uuid:
        return dict(before)
    return {**one, "previousOrder": _replaced(one.get("previousOrder") or {}, uuid, before)}
