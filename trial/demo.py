"""The demo: the whole loop, stage by stage, on real parts but for OpenMRS.

Decides: what is shown, and which stage a failure belongs to.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

from pydicom.dataset import Dataset

from standin import RADIOLOGY, WITH_WORKLIST, Concept, Standin
from standin.samples import patients
from trial import scanner
from trial.orthanc import SCRIPT, ScratchOrthanc
from trial.waiting import eventually

PATIENTS = 12
STATION = "CT1"


class Stages:
    """Numbers the stages, says what each does, and remembers the one that is under way."""

    def __init__(self) -> None:
        self.current = "start"
        self._number = 0

    @contextmanager
    def stage(self, what: str) -> Iterator[Callable[[str], None]]:
        """One stage; what is yielded prints a line below it."""
        self._number += 1
        self.current = f"{self._number}. {what}"
        print(f"\n{self.current}", flush=True)
        yield lambda text: print(f"   {text}", flush=True)


HEAD = Concept("11AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "CT of the head", (("LOINC", "24725-4"),))
"""What is ordered by the order basket, with `--orders`."""

ORDERS = {
    "OrderTypes": [RADIOLOGY],
    "Concepts": {"LOINC:24725-4": {"Modality": "CT", "AETitle": STATION}},
}


def run(
    stages: Stages, folder: Path, generation: str, script: Path, *, once: bool, orders: bool
) -> None:
    """Run the loop, and with `orders` that of one of OpenMRS's own orders too; an exception
    belongs to `stages.current`."""
    with ExitStack() as running:
        with stages.stage(f"OpenMRS: a stand-in of the Imaging module ({generation})") as say:
            openmrs = running.enter_context(Standin(generation))
            for sample in patients(PATIENTS, date.today()):
                sample.add_to(openmrs.records)
            say(f"{openmrs.url} has {PATIENTS} imaging requests")

        with stages.stage("Orthanc, with the plugin and the module's four keys") as say:
            orthanc = running.enter_context(
                ScratchOrthanc(
                    folder,
                    {
                        "ImagingWorklistURL": openmrs.worklist_url,
                        "ImagingUpdateRequestStatus": openmrs.update_url,
                        "ImagingWorklistUsername": "imaging",
                        "ImagingWorklistPassword": "Imaging123",
                        **({"OpenMRS": {"Orders": ORDERS}} if orders else {}),
                    },
                    script=script,
                )
            )
            eventually(
                lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == PATIENTS,
                f"the worklist doesn't offer {PATIENTS} steps",
            )
            say(f"{orthanc.url} serves {PATIENTS} steps to scanners on port {orthanc.dicom_port}")

        with stages.stage(f"The scanner {STATION} asks for its CT worklist") as say:
            keys = [
                f"{scanner.STEP}Modality=CT",
                f"{scanner.STEP}ScheduledStationAETitle={STATION}",
            ]
            found = scanner.find(orthanc.dicom_port, keys, ae_title=STATION)
            if found.status != "Success" or not found.answers:
                raise AssertionError(f"{len(found.answers)} answers, status {found.status}")
            for answer in found.answers:
                say(_line(answer))

        chosen = found.answers[0]
        step_id = int(chosen.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID)
        with stages.stage(f"The scanner sends an image for step {step_id}") as say:
            scanner.store(orthanc.dicom_port, [scanner.acquire(chosen, folder)])
            say(f"study {chosen.StudyInstanceUID}")

        with stages.stage(f"OpenMRS is told that step {step_id} is completed") as say:
            eventually(
                lambda: openmrs.records.statuses()[step_id] == "completed",
                f"OpenMRS has step {step_id} as {openmrs.records.statuses()[step_id]}",
            )
            eventually(
                lambda: orthanc.get("/openmrs/status")["Notifications"]["Delivered"] == 1,
                "the plugin doesn't know that the notification was delivered",
            )
            say(f"step {step_id}: {openmrs.records.statuses()[step_id]}")
            eventually(
                lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == PATIENTS - 1,
                "the completed step doesn't leave the worklist",
            )
            say("and it has left the worklist")

        if orders:
            _show_an_order(stages, openmrs, orthanc, folder)

        if not once:
            _show_around(openmrs, orthanc)
            signal.pause()


def _show_an_order(stages: Stages, openmrs: Standin, orthanc: ScratchOrthanc, folder: Path) -> None:
    with stages.stage("OpenMRS: a CT is ordered by the order basket") as say:
        patient = openmrs.records.add_patient("Amina", "Traoré", degree="MD")
        order = openmrs.orders.place(patient, HEAD, urgency="STAT")
        say(f"order {order.number}")
        keys = [f"AccessionNumber={order.number}"]
        found = eventually(
            lambda: scanner.find(orthanc.dicom_port, keys, ae_title=STATION).answers,
            "the order doesn't come to the scanner",
        )
        say(_line(found[0]))
    with stages.stage(f"The scanner sends an image, and order {order.number} is completed") as say:
        scanner.store(orthanc.dicom_port, [scanner.acquire(found[0], folder)])
        eventually(
            lambda: openmrs.orders.statuses()[order.number] == "COMPLETED",
            "OpenMRS's order isn't completed",
        )
        say(f"fulfillerStatus: {openmrs.orders.statuses()[order.number]}")


def _line(answer: Dataset) -> str:
    step = answer.ScheduledProcedureStepSequence[0]
    return (
        f"{step.ScheduledProcedureStepStartDate} {step.ScheduledProcedureStepStartTime}  "
        f"step {step.ScheduledProcedureStepID:>3}  {answer.PatientName}  "
        f"({step.ScheduledProcedureStepDescription})"
    )


def _show_around(openmrs: Standin, orthanc: ScratchOrthanc) -> None:
    print(
        f"""
Where to look
   Orthanc                {orthanc.url}
   how the plugin is      {orthanc.url}/openmrs/status
   the page               {orthanc.url}/openmrs/ui/
   the worklist           {orthanc.url}/openmrs/worklist
   a step as a .wl file   {orthanc.url}/openmrs/worklist/2/file
   ask as a scanner       findscu -v -W -k "ScheduledProcedureStepSequence[0].Modality=CT" \
127.0.0.1 {orthanc.dicom_port}
   OpenMRS's requests     {openmrs.origin}/standin/requests
   Orthanc's log          {orthanc.log_path}

Ctrl-C stops everything.""",
        flush=True,
    )


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__.splitlines()[0])
    parser.add_argument("--once", action="store_true", help="end when the loop has worked")
    parser.add_argument(
        "--generation",
        choices=WITH_WORKLIST,
        default="v2",
        help="of OpenMRS's Imaging module (v2)",
    )
    parser.add_argument(
        "--orders", action="store_true", help="show one of OpenMRS's own orders, too"
    )
    parser.add_argument(
        "--script", type=Path, default=SCRIPT, help="the plugin's script (this checkout's)"
    )
    arguments = parser.parse_args()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    stages = Stages()
    with tempfile.TemporaryDirectory(prefix="orthanc-openmrs-demo-") as folder:
        try:
            run(
                stages,
                Path(folder),
                arguments.generation,
                arguments.script,
                once=arguments.once,
                orders=arguments.orders,
            )
        except KeyboardInterrupt:
            print("\nstopped")
            return 0
        except Exception as problem:
            print(f"\nFAILED in stage {stages.current}\n   {problem}", file=sys.stderr)
            log = Path(folder) / "orthanc.log"
            if log.exists():
                print("   Orthanc's last lines:", file=sys.stderr)
                for line in log.read_text(errors="replace").splitlines()[-15:]:
                    print(f"   {line}", file=sys.stderr)
            return 1
    print("\nThe whole loop worked.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
