"""What a scanner is answered, and when."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orthanc_openmrs.dimse.messages import Operation, Reply, Request
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import KeptProcedure
from orthanc_openmrs.mpps.datasets import EXPLICIT, parse, text
from orthanc_openmrs.mpps.procedure import RETRIEVE_SOP_CLASS, SOP_CLASS
from orthanc_openmrs.mpps.provider import Provider, services
from orthanc_openmrs.store.database import Database
from tests.unit.mpps.datasets import encoded, end, start


class Scanner:
    """Sends requests as the DIMSE server hands them on."""

    def __init__(self, database: Database) -> None:
        self.news = 0
        self.services = services(Provider(database, self._heard))

    def _heard(self) -> None:
        self.news += 1

    def ask(self, operation: Operation, uid: str, dataset: bytes | None = None) -> Reply:
        sop_class = RETRIEVE_SOP_CLASS if operation is Operation.N_GET else SOP_CLASS
        request = Request(1, 1, operation, sop_class, uid, (), dataset, EXPLICIT, "CT1")
        return self.services[sop_class][operation](request)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database(f"sqlite:///{tmp_path}/openmrs.db")
    yield one
    one.close()


@pytest.fixture
def scanner(database: Database) -> Scanner:
    return Scanner(database)


def test_the_statuses_of_a_life(scanner: Scanner, database: Database) -> None:
    first, last = encoded(start()), encoded(end())
    over = encoded(start(PerformedProcedureStepStatus="COMPLETED"))
    table = [
        (Operation.N_GET, "1.2.3", None, 0x0112, None),
        (Operation.N_SET, "1.2.3", last, 0x0112, None),
        (Operation.N_CREATE, "1.2.3", over, 0x0106, None),
        (Operation.N_CREATE, "1.2.3", first, 0, None),
        (Operation.N_CREATE, "1.2.3", first, 0x0111, None),
        (Operation.N_CREATE, "no UID", first, 0x0117, None),
        (Operation.N_CREATE, "1.2.4", None, 0x0106, None),
        (Operation.N_SET, "1.2.3", encoded(start()), 0, None),
        (Operation.N_SET, "1.2.3", last, 0, None),
        (Operation.N_SET, "1.2.3", last, 0x0110, 0xA710),
        (Operation.N_GET, "1.2.3", None, 0, None),
    ]
    for operation, uid, dataset, status, error_id in table:
        reply = scanner.ask(operation, uid, dataset)
        assert (reply.status, reply.error_id) == (status, error_id), (operation, uid)
    assert reply.dataset is not None
    assert text(parse(reply.dataset, EXPLICIT), "PerformedProcedureStepStatus") == "COMPLETED"
    assert scanner.news == 3
    assert [one.calling_ae_title for one in database.list_procedures()] == ["CT1"]


def test_a_uid_is_made_where_the_scanner_gives_none(scanner: Scanner) -> None:
    reply = scanner.ask(Operation.N_CREATE, "", encoded(start()))
    assert reply.sop_instance_uid.startswith("2.25.")
    assert scanner.ask(Operation.N_GET, reply.sop_instance_uid).status == 0


class FullDisk(Database):
    """A database that can't keep anything new."""

    def create_procedure(self, kept: KeptProcedure) -> bool:
        raise StoreError("the disk is full")


def test_a_step_that_cannot_be_kept_is_not_answered_with_success(tmp_path: Path) -> None:
    scanner = Scanner(FullDisk(f"sqlite:///{tmp_path}/openmrs.db"))
    assert scanner.ask(Operation.N_CREATE, "1.2.3", encoded(start())).status == 0x0110
    assert scanner.news == 0
