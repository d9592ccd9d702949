"""Command sets and messages of PS3.7."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from orthanc_openmrs.dimse.messages import (
    LONGEST_COMMAND,
    LONGEST_DATASET,
    Assembler,
    Malformed,
    Operation,
    Reply,
    Request,
    read_command,
    write_response,
)
from orthanc_openmrs.dimse.pdu import Fragment
from trial.dimse_peer import MPPS, command

SET = command(Operation.N_SET, message_id=7, uid="1.2.3", dataset=True)


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("uid", ["", "1.2.3", "1.2.33"])
def test_a_command_is_read(operation: Operation, uid: str) -> None:
    request, has_dataset = read_command(5, command(operation, message_id=7, uid=uid))
    assert request == Request(5, 7, operation, MPPS, uid)
    assert not has_dataset


def test_an_n_get_names_its_attributes() -> None:
    extra = struct.pack("<HHLHHHH", 0, 0x1005, 8, 0x0040, 0x0252, 0x0010, 0x0010)
    request, _ = read_command(1, command(Operation.N_GET, uid="1.2.3") + extra)
    assert request.attributes == (0x00400252, 0x00100010)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no (0000,0100)"),
        (SET[:-3], "wrong element"),
        (SET + b"\0\0\0", "cut off"),
        (SET + struct.pack("<HHL", 8, 5, 0), "wrong element"),
        (command(0x8120), "a response came"),
        (SET.replace(struct.pack("<HHLH", 0, 0x110, 2, 7), b""), "no (0000,0110)"),
    ],
)
def test_what_is_no_command_ends_the_association(content: bytes, words: str) -> None:
    with pytest.raises(Malformed) as problem:
        read_command(1, content)
    assert words in str(problem.value)


@pytest.mark.parametrize(
    "fragments",
    [
        [Fragment(1, False, True, b"x")],
        [Fragment(1, True, False, SET[:9]), Fragment(3, True, True, SET[9:])],
        [Fragment(1, True, True, SET), Fragment(1, True, True, SET)],
        [Fragment(1, True, True, SET), Fragment(3, False, True, b"x")],
        [Fragment(1, True, False, b"x" * 9000)] * (LONGEST_COMMAND // 9000 + 1),
        [Fragment(1, True, True, SET)]
        + [Fragment(1, False, False, b"x" * 60000)] * (LONGEST_DATASET // 60000 + 1),
    ],
    ids=["no command", "context changes", "no dataset", "another's dataset", "long", "endless"],
)
def test_fragments_out_of_order_end_the_association(fragments: list[Fragment]) -> None:
    assembler = Assembler()

    def add_all() -> None:
        for one in fragments:
            assembler.add(one)

    with pytest.raises(Malformed):
        add_all()
    assert assembler.held <= LONGEST_DATASET


@given(content=st.binary(max_size=200), cut=st.integers(1, 30))
def test_a_message_may_come_in_any_fragments(content: bytes, cut: int) -> None:
    assembler = Assembler()
    found = []
    for is_command, data in ((True, SET), (False, content)):
        parts = [data[at : at + cut] for at in range(0, len(data) or 1, cut)]
        for number, part in enumerate(parts):
            one = assembler.add(Fragment(1, is_command, number == len(parts) - 1, part))
            found += [one] if one else []
    assert found == [Request(1, 7, Operation.N_SET, MPPS, "1.2.3", dataset=content)]
    assert not assembler.has_part_of_message


def test_a_response_is_what_others_read() -> None:
    request = Request(1, 7, Operation.N_SET, MPPS, "1.2.3")
    reply = Reply(0x0110, error_comment="no more" * 20, error_id=0xA710)
    found = _read(write_response(request, reply))
    assert found.CommandField == 0x8120
    assert found.MessageIDBeingRespondedTo == 7
    assert found.CommandDataSetType == 0x0101
    assert (found.Status, found.ErrorID) == (0x0110, 0xA710)
    assert found.ErrorComment == ("no more" * 20)[:64]
    assert (found.AffectedSOPClassUID, found.AffectedSOPInstanceUID) == (MPPS, "1.2.3")
    made = _read(write_response(Request(1, 7, 0x0140, MPPS), Reply(sop_instance_uid="2.25.1")))
    assert made.AffectedSOPInstanceUID == "2.25.1"
    assert _read(write_response(request, Reply(dataset=b""))).CommandDataSetType != 0x0101


def _read(content: bytes) -> Dataset:
    found = read_dataset(BytesIO(content), True, True)
    assert found.CommandGroupLength == len(content) - 12
    return found
