"""Believable patients and orders, for the command line, the demo and the benchmark.

Decides names, dates and procedures, always the same ones. Must not know generations or HTTP.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle, islice

from .records import ImagingRequest, Records, StepFields


@dataclass(frozen=True)
class Sample:
    given: str
    middle: str
    family: str
    birthdate: str
    gender: str
    description: str
    priority: str
    physician: str
    step: StepFields
    accession: str | None = None

    def add_to(self, records: Records) -> ImagingRequest:
        patient = records.add_patient(
            self.given, self.family, self.middle, self.birthdate, self.gender
        )
        return records.add_request(
            patient,
            accession=self.accession,
            description=self.description,
            priority=self.priority,
            physician=self.physician,
            steps=[self.step],
        )


# given, middle, family, birth date, gender
PEOPLE = (
    ("Ánh", "Thị", "Nguyễn", "1984-02-29", "F"),
    ("សុខា", "", "ចាន់", "1971-11-05", "F"),  # Khmer
    ("አበበ", "", "ቢቂላ", "1966-08-07", "M"),  # Amharic
    ("အောင်", "ဆန်း", "မြင့်", "1990-07-19", "M"),  # Burmese
    ("فاطمة", "علي", "الحسن", "2001-03-12", "F"),
    ("सीता", "कुमारी", "श्रेष्ठ", "1958-12-31", "F"),  # Nepali
    ("伟", "", "王", "1979-01-15", "M"),
    ("Алексей", "Иванович", "Смирнов", "1948-05-09", "M"),
    ("Hélène", "", "Lefèvre-Dürr", "1993-09-30", "F"),
    ("Maria", "da Conceição", "dos Santos Silva", "2015-06-01", "F"),
    ("Suharto", "", "", "1962-04-23", "M"),  # a single name
    ("John", "", "Doe", "1975-10-10", "O"),
)
# modality, step description, request description
PROCEDURES = (
    ("CT", "CT head without contrast", "CT head: headache after a fall"),
    ("MR", "MR knee left", "MR knee left"),
    ("US", "Ultrasound abdomen", "Ultrasound abdomen, fasting"),
    ("CR", "Chest PA", "Chest X-ray: cough for 3 weeks"),
    ("DX", "Hand right AP/oblique", "Hand right in two planes"),
    ("MG", "Mammography both sides", "Screening mammography"),
    ("XA", "Coronary angiography", "Coronary angiography"),
    ("PT", "PET whole body", "PET staging"),
    ("RF", "Barium swallow", "Barium swallow"),
    ("OP", "Fundus both eyes", "Fundus photography: diabetes"),
)
PRIORITIES = ("low", "medium", "high")


def patients(n: int, day: date) -> Iterator[Sample]:
    """The people above with one step each on `day`; each person comes again after twelve."""
    for i, person in enumerate(islice(cycle(PEOPLE), n)):
        yield _sample(i, person, day, f"{PROCEDURES[i % len(PROCEDURES)][0]}1")


def many(n: int, first_day: date = date(2025, 7, 1)) -> Iterator[Sample]:
    """n requests over 10 modalities, 20 AE titles ("CT1", "CT2", "MR1", …) and 30 days."""
    for i in range(n):
        modality = PROCEDURES[i % 10][0]
        person = ("Given" + str(i % 997), "", "Family" + str(i), "1980-01-01", "MF"[i % 2])
        day = first_day + timedelta(days=i // 20 % 30)
        yield _sample(i, person, day, f"{modality}{1 + i // 10 % 2}", f"{10**18 + i}")


def _sample(
    i: int,
    person: tuple[str, str, str, str, str],
    day: date,
    aet_title: str,
    accession: str | None = None,
) -> Sample:
    modality, description, request = PROCEDURES[i % len(PROCEDURES)]
    time = f"{8 + i % 10:02d}{i % 4 * 15:02d}00"
    step = StepFields(
        modality=modality,
        aet_title=aet_title,
        start_date=day.strftime("%Y%m%d") + time,
        start_time=time,
        description=description,
        physician="Dr. Okafor",
        station_name=aet_title,
        location=f"Room {1 + i % 5}",
    )
    priority = PRIORITIES[i % len(PRIORITIES)]
    return Sample(*person, request, priority, "Dr. Amina Traoré", step, accession)
