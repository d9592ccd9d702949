"""The mapping of studies that changed or went is looked at again."""

from collections.abc import Callable

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.mapping.synchroniser import MOST_WAITING, Synchroniser


class Odd:
    """A mapping that fails."""

    def __init__(self) -> None:
        self.problem: Exception | None = StoreError("the database fails")
        self.done: list[str] = []

    def synchronise(self, study: str) -> None:
        """Look at one."""
        if self.problem:
            raise self.problem
        self.done.append(study)

    def forget_gone(self, stopping: Callable[[], bool]) -> None:
        """Look at all."""
        self.synchronise("all")


def test_what_cannot_be_looked_at_is_looked_at_again() -> None:
    odd = Odd()
    synchroniser = Synchroniser(odd)
    synchroniser.enqueue("s")
    assert not synchroniser.work()
    odd.problem = None
    assert synchroniser.work()
    assert sorted(odd.done) == ["all", "s"]
    assert synchroniser.work()
    assert len(odd.done) == 2
    for number in range(MOST_WAITING + 1):
        synchroniser.enqueue(str(number))
    assert synchroniser.work()
    assert len(odd.done) == 2 + MOST_WAITING + 1
    assert odd.done[-1] == "all"
