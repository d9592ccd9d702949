"""Structured names of persons, as OpenMRS's core has them."""

import sqlalchemy as sa

from orthanc_openmrs.errors import Unstorable
from orthanc_openmrs.store.engine import Aggregate, metadata
from orthanc_openmrs.store.texts import identifiers, texts

person_names = sa.Table(
    "person_names",
    metadata,
    sa.Column("patient_id", sa.Text, primary_key=True),
    sa.Column("patient_name", sa.Text, nullable=False),
    sa.Column("structured", sa.Text, nullable=False),
)
"""Names as OpenMRS's core has them; `patient_name` is the one text that they were found for."""


class PersonNames(Aggregate):
    """The names that were looked up."""

    def load_person_names(self) -> dict[tuple[str, str], str]:
        """The structured names that were kept, by the patient's uuid and the name as one text."""
        with self._transaction() as connection:
            rows = connection.execute(sa.select(person_names))
            return {(row.patient_id, row.patient_name): row.structured for row in rows}

    def save_person_name(self, person: tuple[str, str], name: str) -> None:
        """Keep a structured name, in the place of the patient's older ones."""
        patient_id, patient_name = person
        try:
            identifiers(("the patient's uuid", patient_id))
            texts(patient_name, name)
        except Unstorable:
            return  # it is looked up again after the next start
        with self._writing() as connection:
            connection.execute(
                sa.delete(person_names).where(person_names.c.patient_id == patient_id)
            )
            connection.execute(
                sa.insert(person_names).values(
                    patient_id=patient_id, patient_name=patient_name, structured=name
                )
            )
