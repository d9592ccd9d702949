"""Reading a study from Orthanc: enough instances, no more, and nothing where it is gone."""

from typing import Any

import pytest

from orthanc_openmrs.completion.study import LOOKED_AT, read_study
from orthanc_openmrs.model import RequestAttributes, SeriesSummary


class FakeOrthanc:
    """Some routes of Orthanc's REST API, and which of them were asked."""

    def __init__(self, routes: dict[str, Any]) -> None:
        self.routes = routes
        self.asked: list[str] = []

    def __call__(self, route: str) -> Any:
        self.asked.append(route)
        found = self.routes.get(route)
        if isinstance(found, Exception):
            raise found
        return found


def ras(*ids: str) -> dict[str, Any]:
    """Tags with a RequestAttributesSequence."""
    return {
        "RequestAttributesSequence": [
            {"ScheduledProcedureStepID": step, "RequestedProcedureID": "7"} for step in ids
        ]
    }


STUDY = {
    "ID": "s",
    "MainDicomTags": {
        "StudyInstanceUID": "1.2.3",
        "AccessionNumber": " A1 ",
        "StudyDescription": "Head",
        "ReferringPhysicianName": "Who^Doctor",
    },
    "PatientMainDicomTags": {"PatientID": "P1\0", "PatientName": "Jones^Alice"},
}


def orthanc(*instances: dict[str, Any] | Exception | None, **more: Any) -> FakeOrthanc:
    """A study of one series with these instances."""
    ids = [f"i{at}" for at in range(len(instances))]
    routes: dict[str, Any] = {
        "/studies/s": STUDY,
        "/studies/s/series": [
            {
                "Instances": ids,
                "MainDicomTags": {"SeriesInstanceUID": "1.2.3.1", "Modality": "CT", **more},
            }
        ],
    }
    for instance, tags in zip(ids, instances, strict=True):
        routes[f"/instances/{instance}/simplified-tags"] = tags
    return FakeOrthanc(routes)


def only_series(get: FakeOrthanc) -> SeriesSummary:
    """The series of the study."""
    found = read_study(get, "s")
    assert found is not None
    (series,) = found.series
    return series


def test_everything_that_linking_and_reporting_need_is_read() -> None:
    get = orthanc(
        {
            **ras("14", "15"),
            "PerformedProcedureStepID": "P14",
            "PerformedProcedureStepDescription": "CT head",
            "PerformedProcedureStepStartDate": "20250703",
            "PerformedProcedureStepStartTime": "0815",
            "PerformingPhysicianName": "Roe",
            "RequestedProcedureDescription": "Head and neck",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
            "AccessionNumber": "A2",
            "ReferencedPerformedProcedureStepSequence": [{"ReferencedSOPInstanceUID": "1.9"}],
        },
        {},
        SeriesDescription="Axial",
        StationName="CT1",
    )
    found = read_study(get, "s")
    assert found is not None
    assert (found.study, found.study_instance_uid, found.accession_number) == ("s", "1.2.3", "A1")
    assert (found.patient_id, found.patient_name) == ("P1", "Jones^Alice")
    assert (found.referring_physician_name, found.study_description) == ("Who^Doctor", "Head")
    assert found.requested_procedure_description == "Head and neck"
    assert found.series == (
        SeriesSummary(
            series_instance_uid="1.2.3.1",
            modality="CT",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            series_description="Axial",
            station_name="CT1",
            instances=2,
            accession_numbers=("A2",),
            performed_step_uids=("1.9",),
            request_attributes=(RequestAttributes("14", "7"), RequestAttributes("15", "7")),
            performed_procedure_step_id="P14",
            performed_procedure_step_description="CT head",
            performed_procedure_step_start_date="20250703",
            performed_procedure_step_start_time="0815",
            performing_physician_name="Roe",
        ),
    )


@pytest.mark.parametrize(
    ("instances", "steps", "why"),
    [
        ([ras("14")], ["14"], "the only instance"),
        ([{}, ras("14")], ["14"], "the second, after a scout"),
        ([{}, ras("14"), {}], ["14"], "the middle one"),
        ([{}, {}, {}, ras("14"), {}], ["14"], "one between"),
        ([{"RequestAttributesSequence": []}, {}, ras("14")], ["14"], "the last"),
        ([None, ras("14")], ["14"], "the first was deleted meanwhile"),
        ([{}, {}], [], "none"),
        ([], [], "no instance"),
        ([{"RequestAttributesSequence": "x"}], [], "no sequence"),
        ([{"RequestAttributesSequence": [None, {}]}], [""], "no items"),
    ],
)
def test_later_instances_are_looked_at_where_the_first_names_no_request(
    instances: list[dict[str, Any] | None], steps: list[str], why: str
) -> None:
    series = only_series(orthanc(*instances))
    assert [item.scheduled_procedure_step_id for item in series.request_attributes] == steps, why


def test_a_large_series_costs_few_reads() -> None:
    get = orthanc(*[{"PerformedProcedureStepID": "1"}] * 500)
    assert only_series(get).instances == 500
    assert sum(route.startswith("/instances/") for route in get.asked) <= LOOKED_AT
    get = orthanc(*[ras("14")] * 500)
    only_series(get)
    assert sum(route.startswith("/instances/") for route in get.asked) == 1


@pytest.mark.parametrize("gone", ["/studies/s", "/studies/s/series"])
def test_a_study_that_was_deleted_is_none(gone: str) -> None:
    get = orthanc({})
    del get.routes[gone]
    assert read_study(get, "s") is None


def test_a_request_is_read_by_whatever_an_item_holds() -> None:
    item = {"AccessionNumber": "A1 ", "StudyInstanceUID": "1.2.3\0"}
    series = only_series(orthanc({"RequestAttributesSequence": [item]}))
    assert series.request_attributes == (RequestAttributes("", "", "A1", "1.2.3"),)


def test_accession_numbers_are_those_of_all_that_was_read() -> None:
    get = orthanc(
        {"AccessionNumber": ""}, {"AccessionNumber": "B2"}, {"AccessionNumber": "A1", **ras("14")}
    )
    found = read_study(get, "s")
    assert found is not None
    assert found.accession_numbers == ("A1",), "Orthanc's own; the last names its request"
    get.routes["/instances/i2/simplified-tags"] = {"AccessionNumber": "C3"}
    found = read_study(get, "s")
    assert found is not None
    assert found.accession_numbers == ("A1", "C3", "B2")


def test_an_instance_that_cant_be_read_keeps_no_other_from_counting() -> None:
    get = orthanc(RuntimeError("the file is gone"), ras("14"))
    found = read_study(get, "s")
    assert found is not None
    assert found.unreadable == 1
    assert found.series[0].request_attributes == (RequestAttributes("14", "7"),)
    assert found.series[0].instances == 2
    get.routes["/instances/i1/simplified-tags"] = RuntimeError("so is this")
    found = read_study(get, "s")
    assert found is not None
    assert (found.unreadable, found.series[0].modality) == (2, "CT"), "of Orthanc's index"
