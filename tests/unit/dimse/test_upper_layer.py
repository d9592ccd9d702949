"""The acceptor's half of PS3.8 table 9-10, and the bytes that drive it."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthanc_openmrs.dimse import pdu
from orthanc_openmrs.dimse.upper_layer import TABLE, Ended, Event, Released, State, UpperLayer
from trial.dimse_peer import ABORT, RELEASE_RQ, associate_request, message

ASSOCIATE_RQ = associate_request()
P_DATA = message(1, 0x0030)
OTHERS = [struct.pack(">BxL4x", kind, 4) for kind in (3, 6)]


def layer_in(state: State) -> UpperLayer:
    """An association that has come to a state."""
    layer = UpperLayer()
    if state is State.STA2:
        return layer
    layer.receive(ASSOCIATE_RQ)
    request = layer.next()
    assert isinstance(request, pdu.AssociateRequest)
    if state is State.STA3:
        return layer
    layer.accept(request, [pdu.Accepted(1, 0, pdu.IMPLICIT_LITTLE_ENDIAN)])
    if state is State.STA8:
        layer.receive(RELEASE_RQ)
        assert layer.next() == Released()
    if state is State.STA13:
        layer.abort("enough")
        layer.next()
    layer.outgoing.clear()
    return layer


def written(layer: UpperLayer) -> bytes:
    return b"".join(part for parts in layer.outgoing for part in parts)


USER_ABORT, OUT_OF_TURN = b"\x07\0\0\0\0\4\0\0\0\0", b"\x07\0\0\0\0\4\0\0\2\2"


@pytest.mark.parametrize(
    ("state", "received", "after", "sent"),
    [
        (State.STA2, ASSOCIATE_RQ, State.STA3, b""),
        *((State.STA2, one, State.STA13, USER_ABORT) for one in (P_DATA, RELEASE_RQ, *OTHERS)),
        (State.STA2, ABORT, State.STA1, b""),
        (State.STA2, b"", State.STA1, b""),
        *(
            (state, one, State.STA13, OUT_OF_TURN)
            for state in (State.STA3, State.STA8)
            for one in (ASSOCIATE_RQ, P_DATA, RELEASE_RQ, *OTHERS)
        ),
        *((State.STA6, one, State.STA13, OUT_OF_TURN) for one in (ASSOCIATE_RQ, *OTHERS)),
        (State.STA6, P_DATA, State.STA6, b""),
        (State.STA6, RELEASE_RQ, State.STA8, b""),
        *((state, ABORT, State.STA1, b"") for state in (State.STA3, State.STA6, State.STA8)),
        *((state, b"", State.STA1, b"") for state in State if state is not State.STA1),
        *(
            (State.STA13, one, State.STA13, b"")
            for one in (ASSOCIATE_RQ, P_DATA, RELEASE_RQ, ABORT, *OTHERS, b"\xff" * 9)
        ),
        # No PDU of the standard: an unknown type, one that claims 2 GiB, a release of 5 bytes.
        (State.STA6, b"\x0a\0\0\0\0\4", State.STA13, b"\x07\0\0\0\0\4\0\0\2\1"),
        (State.STA6, b"\x04\0\x80\0\0\0", State.STA13, b"\x07\0\0\0\0\4\0\0\2\6"),
        (State.STA6, b"\x05\0\0\0\0\5", State.STA13, b"\x07\0\0\0\0\4\0\0\2\6"),
        (State.STA2, b"\x0a\0\0\0\0\4", State.STA13, USER_ABORT),
        (State.STA2, b"\x01\0\x80\0\0\0", State.STA13, USER_ABORT),
    ],
)
def test_what_comes_in_a_state(state: State, received: bytes, after: State, sent: bytes) -> None:
    layer = layer_in(state)
    layer.receive(received)
    layer.next()
    assert layer.state is after
    assert written(layer) == sent


def test_the_answers_of_this_side() -> None:
    layer = layer_in(State.STA3)
    layer.reject(pdu.LOCAL_LIMIT_EXCEEDED)
    assert (layer.state, written(layer)) == (State.STA13, b"\x03\0\0\0\0\4\0\2\3\2")
    layer = layer_in(State.STA8)
    layer.release()
    assert (layer.state, written(layer)) == (State.STA13, b"\x06\0\0\0\0\4\0\0\0\0")
    for state in (State.STA2, State.STA13):
        layer = layer_in(state)
        layer.time_out()
        assert layer.is_closed


def test_every_state_knows_what_to_do_where_the_peer_goes_or_is_given_up() -> None:
    for state in State:
        if state is not State.STA1:
            assert (state, Event.CLOSED) in TABLE
    for state in (State.STA2, State.STA13):
        assert (state, Event.TIMEOUT) in TABLE


@pytest.mark.parametrize("max_length", [0, 8, 9, 128, 16384, 2**32 - 1])
def test_no_pdu_is_longer_than_the_peer_takes(max_length: int) -> None:
    content = bytes(range(256)) * 20
    parts = list(pdu.data(5, False, content, max_length))
    fragments = []
    for part in parts:
        kind, length = pdu.header(part)
        assert kind is pdu.Type.P_DATA
        assert length == len(part) - 6
        assert not max_length or length <= max_length
        fragments += pdu.read_fragments(part[6:])
    assert b"".join(one.data for one in fragments) == content
    assert [one.is_last for one in fragments] == [False] * (len(fragments) - 1) + [True]


STREAM = ASSOCIATE_RQ + P_DATA + message(1, 0x0140, b"x" * 300, uid="1.2.3") + RELEASE_RQ


@given(st.lists(st.integers(1, 400), max_size=30))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int]) -> None:
    layer, whole = UpperLayer(), UpperLayer()
    at = 0
    found = []
    for length in [*cuts, len(STREAM)]:
        if STREAM[at : at + length]:
            layer.receive(STREAM[at : at + length])
        at += length
        found += _taken(layer)
    whole.receive(STREAM)
    assert found == _taken(whole)
    assert layer.state is whole.state is State.STA13


def _taken(layer: UpperLayer) -> list[object]:
    found: list[object] = []
    while (one := layer.next()) is not None:
        found.append(one)
        if isinstance(one, pdu.AssociateRequest):
            layer.accept(one, [])
        elif isinstance(one, Released):
            layer.release()
    return found


@given(
    before=st.sampled_from([State.STA2, State.STA3, State.STA6, State.STA8, State.STA13]),
    noise=st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.sampled_from([ASSOCIATE_RQ, P_DATA, RELEASE_RQ, ABORT, *OTHERS]),
            st.builds(
                lambda kind, body: struct.pack(">BxL", kind, len(body)) + body,
                st.integers(0, 8),
                st.binary(max_size=120),
            ),
        ),
        max_size=8,
    ),
    at=st.integers(0, 200),
    length=st.integers(0, 20),
)
def test_no_bytes_break_it(before: State, noise: list[bytes], at: int, length: int) -> None:
    """It ends in a state of the table, has at most a PDU in memory, and says why it ended."""
    layer = layer_in(before)
    ends = 0
    for data in [*noise, ASSOCIATE_RQ[:at] + b"".join(noise) + ASSOCIATE_RQ[at + length :]]:
        if data:
            layer.receive(data)
        for one in _taken(layer):
            ends += isinstance(one, Ended)
    assert ends <= 1
    layer.receive(b"")
    assert layer.is_closed
