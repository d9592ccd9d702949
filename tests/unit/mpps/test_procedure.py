"""The rules of PS3.4 F.7.2 and F.8.2, as tables."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from orthanc_openmrs.model import (
    DiscontinuationReason,
    KeptProcedure,
    PerformedSeries,
    ProcedureState,
    ScheduledReference,
)
from orthanc_openmrs.mpps.attributes import ATTRIBUTES, Attribute
from orthanc_openmrs.mpps.datasets import EXPLICIT, IMPLICIT, items, parse, tags, text
from orthanc_openmrs.mpps.procedure import (
    Refused,
    create,
    listed_instances,
    retrieve,
    update,
)
from tests.unit.mpps.datasets import SERIES, STUDY, encoded, end, item, scheduled, series, start

UID = "1.2.3"
SYNTAXES = pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT])


def begun(dataset: Dataset | None = None, transfer_syntax: str = EXPLICIT) -> KeptProcedure:
    return create(UID, encoded(dataset or start(), transfer_syntax), transfer_syntax)


def ended(
    kept: KeptProcedure, dataset: Dataset | None = None, transfer_syntax: str = EXPLICIT
) -> KeptProcedure:
    return update(kept, encoded(dataset or end(), transfer_syntax), transfer_syntax)


def dataset_of(kept: KeptProcedure) -> Dataset:
    return parse(kept.content, kept.transfer_syntax)


# --- states and statuses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("IN PROGRESS", None),
        ("in progress ", None),
        ("COMPLETED", 0x0106),
        ("DISCONTINUED", 0x0106),
        ("STARTED", 0x0106),
        ("", 0x0106),
    ],
)
def test_an_n_create_is_in_progress_or_refused(word: str, status: int | None) -> None:
    dataset = start()
    del dataset.PerformedProcedureStepStatus
    dataset.add_new(0x00400252, "LO", word)  # CS would not take them all
    if status is None:
        assert begun(dataset).procedure.state is ProcedureState.IN_PROGRESS
        return
    with pytest.raises(Refused) as refusal:
        begun(dataset)
    assert refusal.value.status == status


@pytest.mark.parametrize(
    ("before", "word", "after", "status", "error_id"),
    [
        ("IN PROGRESS", None, "IN PROGRESS", None, None),
        ("IN PROGRESS", "IN PROGRESS", "IN PROGRESS", None, None),
        ("IN PROGRESS", "COMPLETED", "COMPLETED", None, None),
        ("IN PROGRESS", "DISCONTINUED", "DISCONTINUED", None, None),
        ("IN PROGRESS", "DONE", None, 0x0106, None),
        *(
            (before, word, None, 0x0110, 0xA710)
            for before in ("COMPLETED", "DISCONTINUED")
            for word in (None, "IN PROGRESS", "COMPLETED", "DISCONTINUED", "DONE")
        ),
    ],
)
def test_an_n_set_changes_the_state_as_the_standard_has_it(
    before: str, word: str | None, after: str | None, status: int | None, error_id: int | None
) -> None:
    kept = begun()
    if before != "IN PROGRESS":
        kept = ended(kept, end(status=before))
    changes = item(PerformedProcedureStepDescription="x")
    if word is not None:
        changes.PerformedProcedureStepStatus = word
    if status is None:
        assert ended(kept, changes).procedure.state == after
        return
    with pytest.raises(Refused) as refusal:
        ended(kept, changes)
    assert (refusal.value.status, refusal.value.error_id) == (status, error_id)


def test_what_is_no_dataset_is_a_processing_failure() -> None:
    # Sequences of no length, one in the other, deeper than any reader goes.
    nested = b"\x40\x00\x70\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    with pytest.raises(Refused) as refusal:
        create(UID, nested, EXPLICIT)
    assert refusal.value.status == 0x0110


# --- leniency ------------------------------------------------------------------------------


def test_a_complete_n_create_has_no_remark() -> None:
    assert begun().remarks == ()
    assert ended(begun()).remarks == ()


_NAMED = [
    one
    for one in ATTRIBUTES
    # The one attribute that an N-CREATE is refused for stands above.
    if one.at_create in ("1", "2") and one.keyword != "PerformedProcedureStepStatus"
]


@pytest.mark.parametrize("attribute", _NAMED, ids=lambda one: one.keyword)
def test_what_an_n_create_lacks_is_remarked_and_kept(attribute: Attribute) -> None:
    keyword, kind = attribute.keyword, attribute.at_create
    without = start()
    delattr(without, keyword)
    assert begun(without).remarks == (f"{keyword} is missing (type {kind})",)
    empty = start()
    empty[keyword].value = [] if keyword.endswith("Sequence") else ""
    assert begun(empty).remarks == ((f"{keyword} is empty (type 1)",) if kind == "1" else ())


def test_what_the_items_lack_is_remarked_too() -> None:
    bare = start(item(ScheduledProcedureStepID="14", StudyInstanceUID=""))
    remarks = begun(bare).remarks
    assert "ScheduledStepAttributesSequence.StudyInstanceUID is empty (type 1)" in remarks
    assert "ScheduledStepAttributesSequence.AccessionNumber is missing (type 2)" in remarks


def test_an_end_without_series_is_kept_with_a_remark() -> None:
    kept = ended(begun(), item(PerformedProcedureStepStatus="COMPLETED"))
    assert kept.procedure.state is ProcedureState.COMPLETED
    assert kept.procedure.series == ()
    assert kept.remarks == (
        "PerformedProcedureStepEndDate is empty (type 1)",
        "PerformedProcedureStepEndTime is empty (type 1)",
        "PerformedSeriesSequence is empty (type 1)",
    )


# --- what an N-SET may change --------------------------------------------------------------


@SYNTAXES
def test_an_n_set_replaces_what_it_names_and_leaves_what_is_fixed(transfer_syntax: str) -> None:
    kept = ended(
        begun(transfer_syntax=transfer_syntax),
        end(
            PatientID="another",
            PerformedStationAETitle="CT2",
            ScheduledStepAttributesSequence=[scheduled("99")],
            PerformedProcedureStepDescription="Head, without contrast",
        ),
        transfer_syntax,
    )
    after = dataset_of(kept)
    assert text(after, "PatientID") == "0f8a5c1e-5b1c-4a63-9b2b-0d3f6d2a7c11"
    assert text(after, "PerformedStationAETitle") == "CT1"
    assert kept.procedure.references[0].scheduled_procedure_step_id == "14"
    assert text(after, "PerformedProcedureStepDescription") == "Head, without contrast"
    assert kept.remarks == (
        "PatientID can't be changed by an N-SET",
        "PerformedStationAETitle can't be changed by an N-SET",
    )


@pytest.mark.parametrize(("of_create", "of_set"), [(EXPLICIT, IMPLICIT), (IMPLICIT, EXPLICIT)])
def test_each_association_may_have_its_own_transfer_syntax(of_create: str, of_set: str) -> None:
    kept = ended(begun(transfer_syntax=of_create), end(), of_set)
    assert kept.transfer_syntax == of_create
    assert kept.procedure.series == (PerformedSeries(SERIES, 2),)
    for asked in (EXPLICIT, IMPLICIT):
        found = parse(retrieve(kept, (), asked), asked)
        assert text(found, "PatientName") == "Núñez^María"
        assert len(items(found, "PerformedSeriesSequence")) == 1


@pytest.mark.parametrize(
    ("of_create", "of_set", "named", "expected"),
    [
        ("ISO_IR 100", "ISO_IR 100", False, "José"),
        ("ISO_IR 100", "ISO_IR 100", True, "José"),
        ("ISO_IR 100", "ISO_IR 192", True, "José"),
        ("ISO_IR 192", "ISO_IR 100", True, "José"),
        ("ISO_IR 192", "ISO_IR 192", False, "José"),
        (None, "ISO_IR 192", True, "José"),
        ("ISO_IR 144", "ISO_IR 144", False, "Иван"),
    ],
)
def test_text_has_the_character_set_of_the_n_create(
    of_create: str | None, of_set: str, named: bool, expected: str
) -> None:
    first = start(SpecificCharacterSet=of_create, PatientName="A^B")
    if of_create is None:
        del first.SpecificCharacterSet
    changes = end(SpecificCharacterSet=of_set, PerformedProcedureStepDescription=expected)
    content = encoded(changes)
    if not named:
        content = content[content.index(b"\x40\x00") :]  # the same bytes without the group 0008
    kept = update(begun(first), content, EXPLICIT)
    assert kept.procedure.description == expected
    assert text(dataset_of(kept), "SpecificCharacterSet") == (of_create or of_set)


def test_what_a_scanner_wrote_stays_byte_by_byte() -> None:
    odd = (
        encoded(start()) + b"\x55\x00\x10\x00LO\x04\x00own " + b"\x55\x00\x01\x10XX\x02\x00\xff\x00"
    )
    kept = create(UID, odd, EXPLICIT)
    assert kept.content == odd
    assert ended(kept).content.endswith(odd[-10:])


# --- N-GET ---------------------------------------------------------------------------------


def test_an_n_get_answers_the_attributes_asked_for() -> None:
    found = parse(retrieve(begun(), [0x00400252, 0x00100010, 0x00081195], EXPLICIT), EXPLICIT)
    assert sorted(int(tag) for tag in tags(found)) == [0x00080005, 0x00100010, 0x00400252]


# --- what is read of a step ----------------------------------------------------------------


def test_what_is_read_of_a_step() -> None:
    kept = ended(
        begun(start(scheduled("14"), scheduled("", StudyInstanceUID="1.2.9", AccessionNumber=""))),
        end(
            series(f"{SERIES}.1", f"{SERIES}.2"),
            series("1.5.1", series_uid="1.5"),
            status="DISCONTINUED",
            PerformedProcedureStepDiscontinuationReasonCodeSequence=[
                item(CodeValue="110514", CodingSchemeDesignator="DCM", CodeMeaning="Wrong entry")
            ],
        ),
    )
    found = kept.procedure
    assert found.state is ProcedureState.DISCONTINUED
    assert found.references == (
        ScheduledReference(STUDY, "A-7", "7", "14"),
        ScheduledReference("1.2.9", "", "7", ""),
    )
    assert (found.start, found.end) == ("20261125101200", "20261125102000")
    assert (found.station_ae_title, found.performed_procedure_step_id) == ("CT1", "PPS1")
    assert found.series == (PerformedSeries(SERIES, 2), PerformedSeries("1.5", 1))
    assert found.discontinuation == DiscontinuationReason("110514", "DCM", "Wrong entry")
    assert listed_instances(kept.content, kept.transfer_syntax) == {
        SERIES: {f"{SERIES}.1", f"{SERIES}.2"},
        "1.5": {"1.5.1"},
    }


# --- laws ----------------------------------------------------------------------------------


@SYNTAXES
@given(noise=st.binary(max_size=400), at=st.integers(0, 600), length=st.integers(0, 200))
def test_no_bytes_break_the_rules(transfer_syntax: str, noise: bytes, at: int, length: int) -> None:
    """Garbage is refused by a status of the standard, or kept so that it can be read again."""
    good = encoded(start(), transfer_syntax)
    statuses = set()
    for content in (noise, good[:at] + noise + good[at + length :], good + noise):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                kept = create(UID, content, transfer_syntax)
                kept = update(kept, content, transfer_syntax)
                kept = update(kept, encoded(end(), transfer_syntax), transfer_syntax)
            except Refused as refusal:
                statuses.add(refusal.status)
                continue
            for asked in (IMPLICIT, EXPLICIT):
                retrieve(kept, (), asked)
            again = parse(kept.content, kept.transfer_syntax)
            assert text(again, "PerformedProcedureStepStatus") == "COMPLETED"
            assert kept.procedure.state is ProcedureState.COMPLETED
    assert statuses <= {0x0106, 0x0110}
