"""Who asked for a worklist lately."""

from orthanc_openmrs.worklist.callers import LONGEST_TITLE, MOST_CALLERS, CallingAEs
from tests.unit.builders import FrozenClock


def test_who_asked_is_told_the_last_one_first_with_what_it_got() -> None:
    clock = FrozenClock(100.0)
    callers = CallingAEs(clock)
    callers.note("CT1 ", "192.0.2.7", 3)
    callers.note("MR1", "", 0)
    clock.now = 200.0
    callers.note("CT1", "192.0.2.7", -1)
    callers.note("CT1", "192.0.2.8", 5)
    told = [(c.ae_title, c.address, c.at, c.answers, c.queries) for c in callers.newest_first()]
    assert told == [
        ("CT1", "192.0.2.8", 200.0, 5, 1),
        ("CT1", "192.0.2.7", 200.0, -1, 2),
        ("MR1", "", 100.0, 0, 1),
    ]


def test_titles_that_somebody_makes_up_fill_no_memory() -> None:
    callers = CallingAEs(FrozenClock(0.0))
    for number in range(10 * MOST_CALLERS):
        callers.note(f"{number}" + "X" * 1000, "", 0)
    told = callers.newest_first()
    assert len(told) == MOST_CALLERS
    assert told[0].ae_title.startswith(f"{10 * MOST_CALLERS - 1}X")
    assert len(told[0].ae_title) == LONGEST_TITLE
