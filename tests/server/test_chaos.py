"""Nothing is lost and nothing is made up, though OpenMRS fails in every way while Orthanc is
killed with -9 at random moments.

ORTHANC_OPENMRS_CHAOS is the number of studies (20), ORTHANC_OPENMRS_CHAOS_SEED another run of
chance (1).
"""

import os
import random
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from standin import Fault, Standin, StepFields
from tests.server.conftest import Start
from tests.server.test_completion import answers, notifications, posts, steps_told
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

STUDIES = int(os.environ.get("ORTHANC_OPENMRS_CHAOS", "20"))
SEED = int(os.environ.get("ORTHANC_OPENMRS_CHAOS_SEED", "1"))
KILLS = max(3, STUDIES // 12)

WEATHER = (
    *[None] * 5,
    Fault("hang"),
    Fault("status", status=500),
    Fault("cut"),
    Fault("garbage"),
    Fault("error_after_save"),
    Fault("cut_after_save"),
)
"""What OpenMRS does next; None is that it works."""

FOREIGN = {"PatientID": "of another hospital"}


@dataclass(frozen=True)
class Exam:
    """A study to be sent: its steps of one request, and those of them that it may complete."""

    steps: tuple[int, ...]
    foreign: bool

    @property
    def completes(self) -> tuple[int, ...]:
        return () if self.foreign else self.steps


def ordered(openmrs: Standin, chance: random.Random) -> list[Exam]:
    """Requests of three steps each, of which one or two are examined; some on the wrong patient."""
    exams = []
    for number in range(STUDIES):
        patient = openmrs.records.add_patient(f"Given{number}", f"Family{number}")
        steps = [StepFields(modality=modality) for modality in ("CT", "MR", "CT")]
        request = openmrs.records.add_request(patient, steps=steps)
        ids = [step.id for step in request.steps]
        chosen = tuple(sorted(chance.sample(ids, chance.choice((1, 1, 2)))))
        exams.append(Exam(chosen, foreign=chance.random() < 0.1))
    return exams


def change_the_weather(openmrs: Standin, chance: random.Random, over: threading.Event) -> int:
    """Until it is over; returns how many faults there were."""
    faults = 0
    while not over.wait(chance.uniform(0.2, 1.2)):
        openmrs.clear_faults()
        fault = chance.choice(WEATHER)
        if fault is not None:
            openmrs.set_fault(fault)
            faults += 1
    openmrs.clear_faults()
    return faults


def kill_again_and_again(orthanc: ScratchOrthanc, chance: random.Random) -> None:
    """Each time it has started, and a random while after."""
    pause = threading.Event()
    for _ in range(KILLS):
        pause.wait(chance.uniform(0, 4))
        orthanc.kill()
        orthanc.start()


def send(orthanc: ScratchOrthanc, images: list[Path]) -> int:
    """Send images until Orthanc acknowledges them, as a scanner does; how often it didn't."""
    refused = 0

    def acknowledged() -> bool:
        nonlocal refused
        try:
            scanner.store(orthanc.dicom_port, images)
        except subprocess.CalledProcessError:
            refused += 1
            return False
        return True

    eventually(acknowledged, "Orthanc acknowledges nothing", 60)
    return refused


def exposures(found: dict[int, Dataset], exam: Exam, folder: Path) -> list[Path]:
    """The images of a study, a series a step."""
    changes = FOREIGN if exam.foreign else None
    return [scanner.acquire(found[step], folder, changes=changes) for step in exam.steps]


def test_every_step_is_completed_exactly_where_it_should_be_through_chaos(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    exams = ordered(openmrs, chance)
    orthanc = start_orthanc({"RefreshInterval": 1, "Timeout": 1, "UpdateTimeout": 2})
    found = answers(orthanc, 3 * STUDIES)
    began = time.monotonic()
    over, between = threading.Event(), threading.Event()
    refused = 0
    with ThreadPoolExecutor() as others:
        weather = others.submit(change_the_weather, openmrs, random.Random(SEED + 1), over)
        killer = others.submit(kill_again_and_again, orthanc, random.Random(SEED + 2))
        try:
            for exam in exams:
                refused += send(orthanc, exposures(found, exam, tmp_path))
                between.wait(chance.uniform(0, 0.5))
            killer.result()
        finally:
            over.set()
        faults = weather.result()
    calm = time.monotonic()

    expected = dict.fromkeys(openmrs.records.statuses(), "scheduled")
    expected |= {step: "completed" for exam in exams for step in exam.completes}
    held = sum(exam.foreign for exam in exams)
    eventually(
        lambda: openmrs.records.statuses() == expected,
        "not every step is what it should be",
        120 + STUDIES,
    )
    counts = dict.fromkeys(("Pending", "Failed", "Discarded"), 0)
    counts |= {"Held": held, "Delivered": sum(len(exam.completes) for exam in exams)}
    eventually(
        lambda: counts.items() <= orthanc.get("/openmrs/status")["Notifications"].items(),
        "not every notification is accounted for",
        120,
    )
    ended = time.monotonic()

    uids = {exam: found[exam.steps[0]].StudyInstanceUID for exam in exams}
    for exam in exams:
        request = openmrs.records.request_of(exam.steps[0])
        assert request is not None
        assert request.study_instance_uid == (None if exam.foreign else uids[exam])
    told = orthanc.get("/openmrs/notifications?limit=1000")
    assert Counter(
        (one["StudyInstanceUID"], one["ScheduledProcedureStepID"], one["State"]) for one in told
    ) == Counter(
        [(uids[exam], str(step), "delivered") for exam in exams for step in exam.completes]
        + [(uids[exam], "", "held") for exam in exams if exam.foreign]
    )
    assert len(notifications(orthanc)) == STUDIES
    waiting = "/openmrs/notifications?kind=in%20progress&state=pending"
    assert orthanc.get(waiting) == []
    assert set(steps_told(openmrs)) == {step for exam in exams for step in exam.completes}
    print(
        f"\nchaos {SEED}: {STUDIES} studies ({held} held), {counts['Delivered']} steps, "
        f"{KILLS} kills, {faults} faults, {refused} sendings not acknowledged, "
        f"{len(posts(openmrs))} POSTs, {calm - began:.0f} s of chaos, "
        f"{ended - calm:.0f} s until all was told"
    )
