"""The routes of OpenMRS's core REST: patients and orders, and their pages.

Decides paths, methods, privileges and pages. Must not know who asks, nor sockets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlencode

from .answers import REST, Answer, json_answer
from .behaviour import Behaviour
from .core import NOT_FOUND, Failure, patient_answer, patient_resource, patients_found, shown
from .order_routes import (
    EDIT_ORDERS,
    GET_ORDER_TYPES,
    GET_ORDERS,
    fulfil,
    order_resource,
    read_search,
)
from .orders import Orders
from .records import Records
from .representations import Resource
from .updates import parse_int
from .wire import Received

PATIENTS = "Get Patients"

T = TypeVar("T")


@dataclass(frozen=True)
class Route:
    method: str
    privileges: frozenset[str]
    respond: Callable[[], Answer]
    of_core: bool = False


class Server(Protocol):
    behaviour: Behaviour

    @property
    def origin(self) -> str: ...


def core_route(method: str, privileges: set[str], respond: Callable[[], Answer]) -> Route:
    return Route(method, frozenset(privileges), respond, of_core=True)


class CoreRest:
    def __init__(self, records: Records, orders: Orders, server: Server) -> None:
        self._records = records
        self._orders = orders
        self._server = server

    def route(self, received: Received, privileges: frozenset[str]) -> Route | None:
        match received.path.removeprefix(REST).strip("/").split("/"):
            case ["patient"]:
                return core_route("GET", {PATIENTS}, lambda: self._patients(received))
            case ["patient", uuid]:
                return core_route("GET", {PATIENTS}, lambda: self._patient(received, uuid))
            case ["order"]:
                asks = {GET_ORDERS} | (
                    {GET_ORDER_TYPES} if "orderTypes" in received.query else set()
                )
                return core_route("GET", asks, lambda: self._list_orders(received, privileges))
            case ["order", uuid]:
                return core_route(
                    "GET", {GET_ORDERS}, lambda: self._order(received, uuid, privileges)
                )
            case ["order", uuid, "fulfillerdetails"]:
                asks = {GET_ORDERS, EDIT_ORDERS}
                return core_route("POST", asks, lambda: fulfil(self._orders, uuid, received.body))
        return None

    def _patient(self, received: Received, uuid: str) -> Answer:
        follows = self._server.behaviour.follows_merges
        return patient_answer(self._records, unquote(uuid), received.query, follows_merges=follows)

    def _patients(self, received: Received) -> Answer:
        found = patients_found(self._records, received.query)
        return self._page(found, lambda one: patient_resource(self._records, one), received)

    def _list_orders(self, received: Received, privileges: frozenset[str]) -> Answer:
        search = read_search(self._orders, self._records, received.query)
        return self._page(
            self._orders.search(search),
            lambda order: order_resource(self._orders, self._records, order, privileges),
            received,
        )

    def _order(self, received: Received, uuid: str, privileges: frozenset[str]) -> Answer:
        order = self._orders.order(uuid)
        if order is None:
            raise Failure(404, NOT_FOUND)
        resource = order_resource(self._orders, self._records, order, privileges)
        return json_answer(shown(resource, received.query))

    def _page(
        self, found: Sequence[T], resource: Callable[[T], Resource], received: Received
    ) -> Answer:
        """`results`, and `links` where there is another page."""
        query, behaviour = received.query, self._server.behaviour
        limit = parse_int(query.get("limit", str(behaviour.default_results)))
        start = parse_int(query.get("startIndex", "0"))
        if limit is None or start is None:
            raise Failure(500, "[For input string]")
        if limit <= 0:
            raise Failure(500, "[If you specify a number of results to return, it must be >0]")
        if limit > behaviour.most_results:
            raise Failure(
                500, f"[Administrator has set absolute limit at {behaviour.most_results}]"
            )
        if start > len(found):
            raise Failure(500, f"[fromIndex({start}) > toIndex({len(found)})]")
        page: dict[str, object] = {
            "results": [shown(resource(one), query) for one in found[start : start + limit]]
        }
        links = []
        if len(found) > start + limit:
            links.append(self._link("next", received, start + limit))
        if start > 0:
            links.append(self._link("prev", received, max(start - limit, 0)))
        if links:
            page["links"] = links
        if query.get("totalCount") == "true":
            page["totalCount"] = len(found)
        return json_answer(page)

    def _link(self, rel: str, received: Received, start: int) -> dict[str, str | None]:
        others = {name: text for name, text in received.query.items() if name != "startIndex"}
        query = urlencode(others | ({"startIndex": str(start)} if start else {}))
        return {
            "rel": rel,
            "uri": f"{self._server.origin}{received.path}?{query}",
            "resourceAlias": None,
        }
