"""Structured names of patients, looked up in OpenMRS (`PersonNames`: "lookup").

Decides: which patients are looked up, and how often. OpenMRS's list has a name as one text;
which of its words are the family name only OpenMRS's core knows. Looks up in a thread of its
own; nobody waits for it. Must not know: HTTP, SQL.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from orthanc_openmrs.errors import OpenMRSError, StoreError
from orthanc_openmrs.openmrs.persons import keeps_every_word, read_person_name
from orthanc_openmrs.worker import Worker
from orthanc_openmrs.worklist.items import PersonNames, WorklistItem
from orthanc_openmrs.worklist.values import Normaliser

_log = logging.getLogger(__name__)

PAUSE = 30.0
"""Seconds before the next try after OpenMRS failed."""

MOST_WANTED = 100_000
"""Patients that wait to be looked up, at most."""

BATCH = 100
"""Names after which the list is made again, while more are looked up."""

_UUID = range(1, 65)
"""Characters that an identifier of a patient may have."""

_Person = tuple[str, str]
"""A patient's uuid and the name as one text: a patient who is renamed is looked up again."""


class PatientSource(Protocol):
    """OpenMRS, as far as it is needed here."""

    def get_patient(self, uuid: str) -> bytes | None:
        """The patient's document, None where there is none. Raises OpenMRSError."""


class NameStore(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def load_person_names(self) -> dict[_Person, str]:
        """The names that were kept."""

    def save_person_name(self, person: _Person, name: str) -> None:
        """Keep a name."""


class NameBook(Worker):
    """The names that are known, and the thread that learns more."""

    def __init__(
        self,
        source: PatientSource,
        store: NameStore,
        otherwise: Normaliser,
        *,
        pause: float = PAUSE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("names")
        self._pause = pause
        self._monotonic = monotonic
        self._source = source
        self._store = store
        self._otherwise = otherwise
        self._known: dict[_Person, str] = {}
        self._unknown: set[_Person] = set()  # OpenMRS has no structured name for them
        self._wanted: dict[_Person, None] = {}
        self._unpublished = 0  # names that were learnt since
        self._told = ""  # what was said to fail
        self._names = PersonNames(otherwise)
        self._condition = threading.Condition()

    def names(self) -> PersonNames:
        """What is known now; another object as soon as more is."""
        return self._names

    def start(self) -> None:
        """Take up the kept names and begin to look up."""
        try:
            kept = self._store.load_person_names()
            # Older versions kept names of which they had read three parts only.
            self._known = {
                person: name for person, name in kept.items() if keeps_every_word(name, person[1])
            }
        except StoreError as problem:
            _log.error("the kept names can't be read: %s", problem)
        self._publish()
        super().start()

    def tell_to_stop(self) -> None:
        """Let the thread end; `join` waits for it."""
        super().tell_to_stop()
        with self._condition:
            self._condition.notify_all()

    def want(self, items: Iterable[WorklistItem]) -> None:
        """Look up the patients of these items who aren't known yet."""
        people = {
            (item.request.patient_id, item.request.patient_name)
            for item in items
            if not item.request.structured_name
        }
        new = [person for person in people if self._is_new(person)]
        if new:
            with self._condition:
                for person in new[: MOST_WANTED - len(self._wanted)]:
                    self._wanted[person] = None
                self._condition.notify_all()

    def _is_new(self, person: _Person) -> bool:
        return person not in self._known and person not in self._unknown and len(person[0]) in _UUID

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._wanted or self._stopping.is_set())
                if self._stopping.is_set():
                    return
                person = next(iter(self._wanted))
            began = self._monotonic()
            try:
                self._look_up(person)
            except (OpenMRSError, StoreError) as problem:
                self._tell(str(problem))
                if self._unpublished:
                    self._publish()
                with self._condition:
                    # To the end: what fails for one patient must not hold up the others.
                    self._wanted[person] = self._wanted.pop(person)
                    self._condition.wait_for(self._stopping.is_set, self._pause)
                continue
            except Exception:  # the thread must live
                _log.exception("a name can't be looked up")
                self._unknown.add(person)
            else:
                self._told = ""
            with self._condition:
                self._wanted.pop(person, None)
                last = not self._wanted
            # OpenMRS has others to serve: it is asked half of the time at most.
            self._stopping.wait(self._monotonic() - began)
            # Other names make another list: not for nothing.
            if self._unpublished >= (1 if last else BATCH):
                self._publish()

    def _tell(self, problem: str) -> None:
        """Said once, for it is tried again and again."""
        if problem != self._told:
            self._told = problem
            _log.warning(
                "names can't be looked up in OpenMRS, and are split by their words: %s", problem
            )

    def _look_up(self, person: _Person) -> None:
        body = self._source.get_patient(person[0])
        name = read_person_name(body) if body is not None else ""
        if name and keeps_every_word(name, person[1]):
            self._unpublished += self._known.get(person) != name
            self._known[person] = name
            self._store.save_person_name(person, name)
        else:
            self._unknown.add(person)

    def _publish(self) -> None:
        self._unpublished = 0
        self._names = PersonNames(self._otherwise, dict(self._known))
