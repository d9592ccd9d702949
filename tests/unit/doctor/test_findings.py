"""How a table of checks is gone through."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.command import as_text
from orthanc_openmrs.doctor.findings import (
    Check,
    Examination,
    Finding,
    State,
    error,
    ok,
    warning,
    worst,
)
from tests.unit.doctor.cases import case


def says(*findings: Finding) -> Callable[[Case], Iterator[Finding]]:
    """A check that finds this."""
    return lambda case: iter(findings)


BAD = error("first", "is bad", "mend it")


def test_what_needs_a_failed_check_is_left_out_and_named_once(tmp_path: Path) -> None:
    table = (
        Check("first", says(BAD)),
        Check("second", says(ok("second", "unseen")), ("first",)),
        Check("third", says(ok("third", "unseen")), ("second",)),
        Check("fourth", says(warning("fourth", "is odd", "look"))),
        Check("fifth", says(ok("fifth", "is well")), ("fourth",)),
    )
    found = Examination().make(case(tmp_path), table, 10)
    assert [one.subject for one in found] == ["first", "fourth", "fifth", "not checked"]
    assert found[-1].meaning == "second, third"
    assert worst(found) is State.ERROR


def test_a_check_that_fails_or_takes_too_long_is_told_and_hides_no_other(tmp_path: Path) -> None:
    over = threading.Event()

    def crashes(case: Case) -> Iterator[Finding]:
        raise ZeroDivisionError("a secret")

    def hangs(case: Case) -> Iterator[Finding]:
        over.wait(10)
        yield ok("hangs", "came back")

    table = (
        Check("crashes", crashes),
        Check("hangs", hangs, limit=0.05),
        Check("after", says(ok("after", "unseen")), ("hangs",)),
        Check("last", says(ok("last", "is well"))),
    )
    found = Examination().make(case(tmp_path), table, 10)
    over.set()
    assert [f"{one.state} {one.subject}" for one in found] == [
        "error crashes",
        "warning hangs",
        "ok last",
        "warning not checked",
    ]
    assert "secret" not in as_text(found)


def test_an_examination_ends_in_time_and_at_once_when_told_to(tmp_path: Path) -> None:
    over = threading.Event()

    def hangs(case: Case) -> Iterator[Finding]:
        over.wait(10)
        return iter(())

    table = [Check(str(number), hangs) for number in range(100)]
    started = time.monotonic()
    found = Examination().make(case(tmp_path), table, 0.2)
    assert len(found) == 100
    examination = Examination()
    threading.Timer(0.1, examination.tell_to_stop).start()
    assert len(examination.make(case(tmp_path), table, 100)) == 100
    assert time.monotonic() - started < 5
    over.set()
