"""DIMSE messages (PS3.7): command sets ↔ values, fragments → messages.

Decides: what a request must have, how long a command and a dataset may be. Command sets are
implicit little endian whatever the context's transfer syntax (PS3.7 6.3.1). Must not know: the
meaning of a dataset, which stays bytes. No I/O.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from orthanc_openmrs.dimse.pdu import Fragment

LONGEST_COMMAND = 16384
"""Bytes: the longest part is N-GET's list of attributes, four bytes each."""

LONGEST_DATASET = 4 * 1024 * 1024
"""Bytes: a performed procedure step that lists 40,000 images."""

VERIFICATION = "1.2.840.10008.1.1"


class Operation(IntEnum):
    """The CommandField of a request; that of its response has bit 15 set (PS3.7 E.1-1)."""

    C_ECHO = 0x0030
    N_GET = 0x0110
    N_SET = 0x0120
    N_CREATE = 0x0140


_RESPONSE = 0x8000
_NO_DATASET = 0x0101

SUCCESS = 0x0000
NO_SUCH_ATTRIBUTE = 0x0105
INVALID_ATTRIBUTE_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_SOP_INSTANCE = 0x0112
NO_SUCH_SOP_CLASS = 0x0118
UNRECOGNIZED_OPERATION = 0x0211
RESOURCE_LIMITATION = 0x0213
"""Statuses (PS3.7 annex C)."""


class Malformed(Exception):
    """Not a message: the association can't go on."""


class _Tag(IntEnum):
    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
    COMMAND_DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    ERROR_ID = 0x0903
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    ATTRIBUTE_IDENTIFIER_LIST = 0x1005


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a peer. `command` is its CommandField, which may be of no known operation;
    `attributes` are the tags that an N-GET asks for, none where all."""

    context: int
    message_id: int
    command: int
    sop_class_uid: str
    sop_instance_uid: str = ""
    attributes: tuple[int, ...] = ()
    dataset: bytes | None = field(default=None, repr=False)
    transfer_syntax: str = ""
    calling_ae_title: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers. An `error_comment` names no patient, and has 64 characters at most
    (PS3.7 C.4)."""

    status: int = SUCCESS
    sop_instance_uid: str = ""
    dataset: bytes | None = field(default=None, repr=False)
    error_comment: str = ""
    error_id: int | None = None


Handler = Callable[[Request], Reply]
"""Answers one request, on disk before it returns. Called in one thread of several."""


# --- reading -------------------------------------------------------------------------------


class Assembler:
    """Fragments of one association → requests, one after the other."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._request: Request | None = None
        self._context: int | None = None

    @property
    def held(self) -> int:
        """Bytes of the message that has begun to come."""
        return len(self._content)

    @property
    def has_part_of_message(self) -> bool:
        """Whether a message has begun to come and is not whole."""
        return self._context is not None

    def add(self, fragment: Fragment) -> Request | None:
        """The request that this fragment is the last one of, else None. Raises Malformed."""
        if fragment.context != (self._context or fragment.context):
            raise Malformed("a message changes its presentation context")
        if fragment.is_command == (self._request is not None):
            raise Malformed("a message's command and dataset are mixed up")
        most = LONGEST_COMMAND if fragment.is_command else LONGEST_DATASET
        if len(self._content) + len(fragment.data) > most:
            raise Malformed(f"a command or dataset is longer than {most} bytes")
        self._context = fragment.context
        self._content += fragment.data
        if not fragment.is_last:
            return None
        content, self._content = bytes(self._content), bytearray()
        if self._request is None:
            request, has_dataset = read_command(fragment.context, content)
            if has_dataset:
                self._request = request
                return None
        else:
            request, self._request = replace(self._request, dataset=content), None
        self._context = None
        return request


def read_command(context: int, content: bytes) -> tuple[Request, bool]:
    """A command set, and whether a dataset follows."""
    values = dict(_elements(content))
    command = _number(values, _Tag.COMMAND_FIELD)
    dataset_type = _number(values, _Tag.COMMAND_DATA_SET_TYPE)
    if command & _RESPONSE:
        raise Malformed("a response came, though nothing was asked")
    tags = values.get(_Tag.ATTRIBUTE_IDENTIFIER_LIST, b"")
    request = Request(
        context=context,
        message_id=_number(values, _Tag.MESSAGE_ID),
        command=command,
        sop_class_uid=_uid(values, _Tag.AFFECTED_SOP_CLASS_UID)
        or _uid(values, _Tag.REQUESTED_SOP_CLASS_UID),
        sop_instance_uid=_uid(values, _Tag.AFFECTED_SOP_INSTANCE_UID)
        or _uid(values, _Tag.REQUESTED_SOP_INSTANCE_UID),
        attributes=tuple(
            group << 16 | element
            for group, element in struct.iter_unpack("<HH", tags[: len(tags) & ~3])
        ),
    )
    return request, dataset_type != _NO_DATASET


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(content):
        if at + 8 > len(content):
            raise Malformed("a command set is cut off")
        group, element, length = struct.unpack_from("<HHL", content, at)
        at += 8
        if group != 0 or at + length > len(content):
            raise Malformed("a command set has a wrong element")
        yield element, content[at : at + length]
        at += length


def _number(values: Mapping[int, bytes], tag: _Tag) -> int:
    value = values.get(tag, b"")
    if len(value) != 2:
        raise Malformed(f"a command set has no (0000,{tag:04X})")
    return int.from_bytes(value, "little")


def _uid(values: Mapping[int, bytes], tag: _Tag) -> str:
    return values.get(tag, b"").decode("ascii", "replace").strip("\0 ")


# --- writing -------------------------------------------------------------------------------


def write_response(request: Request, reply: Reply) -> bytes:
    """The command set of the response to a request."""
    elements: list[tuple[int, bytes]] = [
        (_Tag.AFFECTED_SOP_CLASS_UID, _text(request.sop_class_uid, "\0")),
        (_Tag.COMMAND_FIELD, _us(request.command | _RESPONSE)),
        (_Tag.MESSAGE_ID_BEING_RESPONDED_TO, _us(request.message_id)),
        (_Tag.COMMAND_DATA_SET_TYPE, _us(_NO_DATASET if reply.dataset is None else 1)),
        (_Tag.STATUS, _us(reply.status)),
    ]
    if reply.error_comment:
        elements.append((_Tag.ERROR_COMMENT, _text(reply.error_comment[:64], " ")))
    if reply.error_id is not None:
        elements.append((_Tag.ERROR_ID, _us(reply.error_id)))
    instance = reply.sop_instance_uid or request.sop_instance_uid
    if instance:
        elements.append((_Tag.AFFECTED_SOP_INSTANCE_UID, _text(instance, "\0")))
    body = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _us(number: int) -> bytes:
    return number.to_bytes(2, "little")


def _text(text: str, padding: str) -> bytes:
    return (text + padding * (len(text) % 2)).encode("ascii", "replace")
