"""Images of scheduled steps, as a scanner makes them of its worklist, and how they are sent.

Decides: what is in an image, the clients that store and ask. An image has 16 x 16 pixels, so
that storing it costs little beside what is measured; DCMTK's storescu doesn't wait for
acknowledgements (TCP_NODELAY), for that would take 40 ms an image. Must not know: who
receives, what is timed.
"""

import http.client
import os
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from bench.client import CALLED
from orthanc_openmrs.openmrs.imaging_list import read_list
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.snapshot import Snapshot

_COPIED = (
    "AccessionNumber",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "RequestedProcedureDescription",
    "Modality",
)
_SIDE = 16
_TIMEOUT = 60


def new_uid() -> str:
    """Of 44 characters always, so that one takes another's place in an encoded image."""
    return f"2.25.{random.randrange(10**38, 2**128)}"


@dataclass(slots=True)
class Study:
    """A study of one step, which has one image so far."""

    step: str
    first: bytes = field(repr=False)
    uid: bytes
    """The SOPInstanceUID of the first image."""

    def another(self) -> bytes:
        """One more image of its series."""
        return self.first.replace(self.uid, new_uid().encode())


def studies(listed: bytes, count: int) -> list[Study]:
    """Studies of the first `count` steps of OpenMRS's list."""
    snapshot = Snapshot.build(read_list(listed), read_at=0, day="20250701")
    return [_study(item) for item in snapshot.items[:count]]


def _study(item: WorklistItem) -> Study:
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _COPIED:
        setattr(image, keyword, item[keyword])
    request = Dataset()
    request.ScheduledProcedureStepID = item["ScheduledProcedureStepID"]
    request.RequestedProcedureID = item["RequestedProcedureID"]
    image.RequestAttributesSequence = DicomSequence([request])
    image.ReferringPhysicianName = item["RequestingPhysician"]
    image.StationName = item["ScheduledStationName"]
    image.StudyID = "1"
    image.StudyDate, image.StudyTime = "20250701", "090000"
    image.SeriesInstanceUID = new_uid()
    image.SeriesNumber = image.InstanceNumber = "1"
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, new_uid()
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows = image.Columns = _SIDE
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.PixelData = bytes(2 * _SIDE * _SIDE)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = DicomBytesIO()
    file = FileDataset(buffer, image, preamble=b"\0" * 128, file_meta=meta)
    file.save_as(buffer, enforce_file_format=True)
    step = item["ScheduledProcedureStepID"]
    return Study(step, buffer.getvalue(), image.SOPInstanceUID.encode())


def write(folder: Path, chosen: Sequence[Study]) -> list[Path]:
    """The first images as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{study.uid.decode()}.dcm" for study in chosen]
    for path, study in zip(paths, chosen, strict=True):
        path.write_bytes(study.first)
    return paths


class Rest:
    """One kept connection to Orthanc's REST API, without the work of a larger client."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)

    def __enter__(self) -> "Rest":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def renew(self) -> None:
        """Connect again: Orthanc gives up a connection that nobody uses."""
        self._connection.close()
        self._connection.connect()

    def get(self, path: str) -> bytes:
        """The body of a route."""
        return self._ask("GET", path, None)

    def put(self, path: str) -> bytes:
        """PUT without a body; the answer."""
        return self._ask("PUT", path, None)

    def delete(self, path: str) -> bytes:
        """DELETE; the answer."""
        return self._ask("DELETE", path, None)

    def store(self, image: bytes) -> bytes:
        """POST /instances; Orthanc's answer."""
        return self._ask("POST", "/instances", image)

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise AssertionError(f"{method} {path}: HTTP {response.status}")
        return content


def storescu(port: int, paths: Sequence[Path]) -> None:
    """DCMTK's storescu with all images in one association."""
    subprocess.run(
        _storescu(port, *map(str, paths)), env=_environment(), check=True, capture_output=True
    )


class EndlessScan:
    """A scanner that sends image after image of one series, in one association."""

    def __init__(self, port: int, path: Path) -> None:
        self._process = subprocess.Popen(
            _storescu(port, "--repeat", "1000000", "+II", str(path)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )

    def __enter__(self) -> "EndlessScan":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def check(self) -> None:
        """It still sends. Raises AssertionError."""
        if self._process.poll() is not None:
            raise AssertionError("the scanner stopped sending")


def _storescu(port: int, *words: str) -> list[str]:
    return ["storescu", "-aet", "BENCH", "-aec", CALLED, "127.0.0.1", str(port), *words]


def _environment() -> dict[str, str]:
    return {**os.environ, "TCP_NODELAY": "1"}
