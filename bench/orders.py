"""OpenMRS's own orders: how long a list of them takes to come, and what a read costs after that.

Decides: what is measured of the second source. The stand-in runs in the same process, and makes
each page in Python: OpenMRS's own time is another one. What it shows is how many pages are asked
for, and what the plugin does with them.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.measure import Ordered, median
from orthanc_openmrs.openmrs.order_client import RECENT_DAYS, OrderClient
from orthanc_openmrs.openmrs.orders import read_orders
from orthanc_openmrs.openmrs.sign_in import Password
from orthanc_openmrs.openmrs.transport import Transport
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.lists import KeptOrders
from orthanc_openmrs.worklist.board import Board
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.orders import Machine, OrderRules, requests_of
from orthanc_openmrs.worklist.refresh import Refresher
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.uid_registry import UidRegistry
from standin import RADIOLOGY, Concept, Standin
from trial.waiting import eventually

DAYS_BACK = 30
PATIENTS = 500
CHEST = Concept("12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Chest X-ray", (("LOINC", "24627-2"),))
RULES = OrderRules(default=Machine("DX"))


class _Counted:
    """The orders' client, and what is asked of it."""

    def __init__(self, openmrs: Standin, client: OrderClient) -> None:
        self._openmrs = openmrs
        self._client = client
        self.pages = 0
        self.seconds = 0.0
        self.body = b""

    def get_list(self) -> bytes:
        asked, start = len(self._openmrs.requests_log), time.perf_counter()
        self.body = self._client.get_list()
        self.seconds = time.perf_counter() - start
        self.pages = len(self._openmrs.requests_log) - asked
        return self.body


def ordered(folder: Path, sizes: Sequence[int]) -> list[Ordered]:
    """Lists of these lengths, spread over the days that are read."""
    folder.mkdir()
    found = []
    for size in sizes:
        with Standin("v2") as openmrs:
            found.append(_ordered(openmrs, folder / f"{size}.db", size))
    return found


def _ordered(openmrs: Standin, path: Path, size: int) -> Ordered:
    patients = [openmrs.records.add_patient(f"Given{at}", f"Family{at}") for at in range(PATIENTS)]
    apart = timedelta(days=DAYS_BACK - 1) / size
    for at in range(size):
        placed = datetime.now(UTC) - at * apart
        openmrs.orders.place(patients[at % PATIENTS], CHEST, date_activated=placed)
    client = OrderClient(
        Transport(sign_in=Password("imaging", "Imaging123")),
        rest_url=f"{openmrs.url}/ws/rest/v1",
        order_types=(RADIOLOGY,),
        days_back=DAYS_BACK,
    )
    source = _Counted(openmrs, client)
    database = Database(f"sqlite:///{path}")
    worklist = Worklist(StationRules(codec="utf-8"), max_staleness=1e9)
    names = PersonNames()
    board = Board(worklist, names=lambda: names, uids=UidRegistry(database), max_staleness=1e9)
    reader = Refresher(
        source,
        board,
        KeptOrders(database),
        interval=3600,
        read=lambda body: requests_of(read_orders(body), RULES),
    )

    def timed(what: Callable[[], object]) -> float:
        start = time.perf_counter()
        what()
        return time.perf_counter() - start

    try:
        reader.start()
        served = timed(
            lambda: eventually(lambda: worklist.snapshot is not None, "no list is read", 300)
        )
        pages, took = source.pages, source.seconds
        unchanged = median([timed(lambda: reader.read_now(60)) for _ in range(3)])
        recent = source.pages
        openmrs.orders.place(patients[0], CHEST)
        one_new = timed(lambda: reader.read_now(60))
    finally:
        reader.tell_to_stop()
        reader.join(time.monotonic() + 5)
        database.close()
    return Ordered(
        orders=size,
        megabytes=len(source.body) / 1e6,
        pages=pages,
        served=served,
        recent_pages=recent,
        unchanged=unchanged,
        one_new=one_new,
        handled=served - took,
    )


HEAD = (
    f"OpenMRS's own orders of {DAYS_BACK} days: seconds, against a stand-in (refreshes read the "
    f"orders of today and {RECENT_DAYS} day before)"
)
COLUMNS = "orders|MB|pages|all served|of it the plugin's|pages of a refresh|unchanged|one new"


def row(each: Ordered) -> Sequence[str]:
    """A row of the report."""
    return (
        f"{each.orders:,}",
        f"{each.megabytes:.1f}",
        str(each.pages),
        f"{each.served:.2f}",
        f"{each.handled:.2f}",
        str(each.recent_pages),
        f"{each.unchanged:.3f}",
        f"{each.one_new:.3f}",
    )
