"""Protocol data units of the DICOM upper layer ↔ values (PS3.8 9.3).

Decides: what is well formed, and how long a PDU may be. Must not know: in which order PDUs come,
what the data mean. No I/O.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

LONGEST = 65536
"""Bytes of a PDU behind its header that are taken: an A-ASSOCIATE-RQ with 128 contexts has about
half, and data of any length come in several. A longer one is refused before it is read."""

HEADER = 6
PDV_HEADER = 6
SHORTEST = PDV_HEADER + 2
"""The maximum length of a peer that leaves room for any data."""

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLEMENTATION_CLASS_UID = "2.25.315677796405409116022634734327324317771"
IMPLEMENTATION_VERSION_NAME = "ORTHANC_OPENMRS"


class Type(IntEnum):
    """PDU types (PS3.8 9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


_FIXED = {Type.ASSOCIATE_RJ: 4, Type.RELEASE_RQ: 4, Type.RELEASE_RP: 4, Type.ABORT: 4}
"""Types whose length is always the same."""


class Invalid(Exception):
    """Not a PDU that the standard knows; `reason` is that of the A-ABORT (PS3.8 table 9-26)."""

    UNRECOGNIZED = 1
    UNEXPECTED = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_VALUE = 6

    def __init__(self, words: str, reason: int = INVALID_VALUE) -> None:
        super().__init__(words)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Context:
    """A presentation context as proposed."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was answered to a presentation context: `result` 0, or why not (PS3.8 table 9-18)."""

    id: int
    result: int
    transfer_syntax: str

    ACCEPTANCE = 0
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ. `max_length` is what the peer can take, 0 where any."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[Context, ...]
    max_length: int = 0
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    titles: bytes = field(default=b"", repr=False)
    """Called and calling AE title as they came, which an A-ASSOCIATE-AC sends back."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    result: int
    source: int
    reason: int
    words: str


VERSION_NOT_SUPPORTED = Rejection(1, 2, 2, "protocol version not supported")
APPLICATION_CONTEXT_NOT_SUPPORTED = Rejection(1, 1, 2, "application context not supported")
CALLING_NOT_RECOGNIZED = Rejection(1, 1, 3, "calling AE title not recognized")
CALLED_NOT_RECOGNIZED = Rejection(1, 1, 7, "called AE title not recognized")
LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2, "local limit exceeded")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A presentation data value: a part of a command or of a dataset."""

    context: int
    is_command: bool
    is_last: bool
    data: bytes


# --- reading -------------------------------------------------------------------------------


def header(data: bytes | bytearray) -> tuple[Type, int]:
    """Type and length of the PDU that begins with these six bytes."""
    kind, length = struct.unpack_from(">BxL", data)
    try:
        known = Type(kind)
    except ValueError:
        raise Invalid(f"PDU type {kind:02X} is unknown", Invalid.UNRECOGNIZED) from None
    if length > LONGEST or length != _FIXED.get(known, length):
        raise Invalid(f"a PDU of type {kind:02X} has {length} bytes")
    return known, length


def read_associate_request(body: bytes) -> AssociateRequest:
    """The body of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    if len(body) < 68:
        raise Invalid("an A-ASSOCIATE-RQ is too short")
    application_context, max_length = "", 0
    contexts: dict[int, Context] = {}
    for kind, item in _items(body, 68):
        if kind == 0x10:
            application_context = _uid(item)
        elif kind == 0x20:
            context = _read_context(item)
            if context.id % 2 == 0 or context.id in contexts:
                raise Invalid("a presentation context has no ID of its own")
            contexts[context.id] = context
        elif kind == 0x50:
            for part, value in _items(item):
                if part == 0x51:
                    if len(value) != 4:
                        raise Invalid("the maximum length has not four bytes")
                    max_length = int.from_bytes(value, "big")
                    if 0 < max_length < SHORTEST:
                        raise Invalid(f"a maximum length of {max_length} leaves no room for data")
    return AssociateRequest(
        called_ae_title=_title(body[4:20]),
        calling_ae_title=_title(body[20:36]),
        contexts=tuple(contexts.values()),
        max_length=max_length,
        application_context=application_context,
        protocol_version=int.from_bytes(body[:2], "big"),
        titles=bytes(body[4:36]),
    )


def _read_context(item: bytes) -> Context:
    if len(item) < 4:
        raise Invalid("a presentation context is too short")
    abstract_syntax = ""
    transfer_syntaxes = []
    for kind, value in _items(item, 4):
        if kind == 0x30:
            abstract_syntax = _uid(value)
        elif kind == 0x40:
            transfer_syntaxes.append(_uid(value))
    return Context(item[0], abstract_syntax, tuple(transfer_syntaxes))


def _items(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    while at < len(data):
        if at + 4 > len(data):
            raise Invalid("an item is cut off")
        kind, length = struct.unpack_from(">BxH", data, at)
        at += 4
        if at + length > len(data):
            raise Invalid("an item is longer than what it stands in")
        yield kind, data[at : at + length]
        at += length


def _uid(data: bytes) -> str:
    if len(data) > 65:
        raise Invalid("a UID is too long")
    return data.decode("ascii", "replace").rstrip("\0 ")


def _title(data: bytes) -> str:
    return data.decode("ascii", "replace").strip("\0 ")


def read_fragments(body: bytes) -> list[Fragment]:
    """The presentation data values of a P-DATA-TF (PS3.8 9.3.5)."""
    found = []
    at = 0
    while at < len(body):
        if at + PDV_HEADER > len(body):
            raise Invalid("a presentation data value is cut off")
        length, context, control = struct.unpack_from(">LBB", body, at)
        end = at + 4 + length
        if length < 2 or end > len(body):
            raise Invalid("a presentation data value is longer than its PDU")
        data = bytes(body[at + PDV_HEADER : end])
        found.append(Fragment(context, bool(control & 1), bool(control & 2), data))
        at = end
    if not found:
        raise Invalid("a P-DATA-TF has no presentation data value")
    return found


# --- writing -------------------------------------------------------------------------------


def _pdu(kind: Type, body: bytes) -> bytes:
    return struct.pack(">BxL", kind, len(body)) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def associate_accept(request: AssociateRequest, answers: Iterable[Accepted]) -> bytes:
    """An A-ASSOCIATE-AC (PS3.8 9.3.3)."""
    user = (
        _item(0x51, LONGEST.to_bytes(4, "big"))
        + _item(0x52, IMPLEMENTATION_CLASS_UID.encode())
        + _item(0x55, IMPLEMENTATION_VERSION_NAME.encode())
    )
    contexts = b"".join(
        _item(
            0x21,
            struct.pack(">BxBx", answer.id, answer.result)
            + _item(0x40, answer.transfer_syntax.encode()),
        )
        for answer in answers
    )
    return _pdu(
        Type.ASSOCIATE_AC,
        struct.pack(">H2x", 1)
        + request.titles.ljust(32)
        + bytes(32)
        + _item(0x10, APPLICATION_CONTEXT.encode())
        + contexts
        + _item(0x50, user),
    )


def associate_reject(rejection: Rejection) -> bytes:
    """An A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return _pdu(
        Type.ASSOCIATE_RJ,
        struct.pack(">xBBB", rejection.result, rejection.source, rejection.reason),
    )


def release_response() -> bytes:
    """An A-RELEASE-RP (PS3.8 9.3.7)."""
    return _pdu(Type.RELEASE_RP, bytes(4))


def abort(reason: int | None = None) -> bytes:
    """An A-ABORT (PS3.8 9.3.8): of the provider with its reason, else of the user."""
    return _pdu(Type.ABORT, struct.pack(">xxBB", 0 if reason is None else 2, reason or 0))


def data(context: int, is_command: bool, content: bytes, max_length: int) -> Iterator[bytes]:
    """P-DATA-TF PDUs, none longer than the peer takes (0 is any length), one after the other: a
    peer that takes few bytes at once would make one long text many times as long."""
    room = (min(max_length or LONGEST, LONGEST) - PDV_HEADER) & ~1  # fragments are even
    for at in range(0, len(content) or 1, room):
        part = content[at : at + room]
        control = is_command | (at + room >= len(content)) << 1
        yield _pdu(Type.P_DATA, struct.pack(">LBB", len(part) + 2, context, control) + part)
