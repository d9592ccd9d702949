"""What Orthanc says of a study."""

from orthanc_openmrs.mapping.studies import StudyHead, read_study_head
from tests.unit.builders import ALICE


def test_the_patient_id_that_orthanc_makes_up_for_an_anonymous_study_is_no_patients() -> None:
    document = {"ID": "s", "PatientMainDicomTags": {"PatientID": ALICE}}
    assert read_study_head(document).implied == ALICE
    assert read_study_head(document | {"AnonymizedFrom": "t"}).implied == ""
    assert read_study_head({"ID": "s"}) == StudyHead("s", "")
