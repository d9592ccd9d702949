"""The DICOM upper layer of one association's acceptor, as a table of states and events.

Decides: what may come when, and what is answered (PS3.8 9.2, table 9-10, without the rows and
columns of a requestor, for this side never requests an association or its release). Must not
know: sockets, clocks, messages. Bytes go in by `receive`, what came of them is taken by `next`,
what is to be sent lies in `outgoing`.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from orthanc_openmrs.dimse import pdu


class State(Enum):
    """PS3.8 9.2.1, those of an acceptor."""

    STA1 = "idle"
    STA2 = "transport connection open, awaiting A-ASSOCIATE-RQ"
    STA3 = "awaiting the local answer to it"
    STA6 = "association established"
    STA8 = "awaiting the local answer to A-RELEASE-RQ"
    STA13 = "awaiting the transport connection's close"


class Event(Enum):
    """PS3.8 9.2.2, those of an acceptor."""

    CONNECTED = "transport connection indication"
    ASSOCIATE_RQ = "A-ASSOCIATE-RQ received"
    ACCEPT = "A-ASSOCIATE response, accept"
    REJECT = "A-ASSOCIATE response, reject"
    P_DATA_REQUEST = "P-DATA request"
    P_DATA = "P-DATA-TF received"
    RELEASE_RQ = "A-RELEASE-RQ received"
    RELEASE = "A-RELEASE response"
    OTHER_PDU = "A-ASSOCIATE-AC, A-ASSOCIATE-RJ or A-RELEASE-RP received"
    ABORT_REQUEST = "A-ABORT request"
    ABORT = "A-ABORT received"
    CLOSED = "transport connection closed"
    TIMEOUT = "ARTIM timer expired"
    INVALID_PDU = "unrecognized or invalid PDU received"


class Action(Enum):
    """PS3.8 9.2.3. What starts and stops the ARTIM timer is the state: it runs in Sta2, Sta13."""

    AE_5 = "wait for A-ASSOCIATE-RQ"
    AE_6 = "indicate the A-ASSOCIATE-RQ"
    AE_7 = "send A-ASSOCIATE-AC"
    AE_8 = "send A-ASSOCIATE-RJ"
    DT_1 = "send P-DATA-TF"
    DT_2 = "indicate the data"
    AR_2 = "indicate the release"
    AR_4 = "send A-RELEASE-RP"
    AR_5 = "stop the ARTIM timer"
    AA_1 = "send A-ABORT of the user"
    AA_2 = "close the transport connection"
    AA_3 = "indicate the abort, close the transport connection"
    AA_4 = "indicate the provider's abort"
    AA_5 = "stop the ARTIM timer, the peer has gone"
    AA_8 = "send A-ABORT of the provider, indicate it"


_S, _E, _A = State, Event, Action
_WAITING = {_E.P_DATA, _E.RELEASE_RQ, _E.OTHER_PDU}
_ASSOCIATED = (_S.STA3, _S.STA6, _S.STA8)

TABLE: Mapping[tuple[State, Event], tuple[Action, State]] = {
    (_S.STA1, _E.CONNECTED): (_A.AE_5, _S.STA2),
    (_S.STA2, _E.ASSOCIATE_RQ): (_A.AE_6, _S.STA3),
    (_S.STA3, _E.ACCEPT): (_A.AE_7, _S.STA6),
    (_S.STA3, _E.REJECT): (_A.AE_8, _S.STA13),
    (_S.STA6, _E.P_DATA_REQUEST): (_A.DT_1, _S.STA6),
    **{(_S.STA2, event): (_A.AA_1, _S.STA13) for event in (*_WAITING, _E.INVALID_PDU)},
    **{
        (state, event): (_A.AA_8, _S.STA13)
        for state in _ASSOCIATED
        for event in (_E.ASSOCIATE_RQ, *_WAITING, _E.INVALID_PDU)
    },
    (_S.STA6, _E.P_DATA): (_A.DT_2, _S.STA6),
    (_S.STA6, _E.RELEASE_RQ): (_A.AR_2, _S.STA8),
    (_S.STA8, _E.RELEASE): (_A.AR_4, _S.STA13),
    (_S.STA2, _E.ABORT): (_A.AA_2, _S.STA1),
    **{(state, _E.ABORT): (_A.AA_3, _S.STA1) for state in _ASSOCIATED},
    (_S.STA2, _E.CLOSED): (_A.AA_5, _S.STA1),
    **{(state, _E.CLOSED): (_A.AA_4, _S.STA1) for state in _ASSOCIATED},
    (_S.STA13, _E.CLOSED): (_A.AR_5, _S.STA1),
    **{(state, _E.TIMEOUT): (_A.AA_2, _S.STA1) for state in (_S.STA2, _S.STA13)},
    **{(state, _E.ABORT_REQUEST): (_A.AA_1, _S.STA13) for state in (_S.STA2, *_ASSOCIATED)},
}
"""(state, event) → (action, next state). What isn't in it can't happen: in Sta13 nothing is read
any more but the connection's end."""

_EVENTS = {
    pdu.Type.ASSOCIATE_RQ: Event.ASSOCIATE_RQ,
    pdu.Type.ASSOCIATE_AC: Event.OTHER_PDU,
    pdu.Type.ASSOCIATE_RJ: Event.OTHER_PDU,
    pdu.Type.P_DATA: Event.P_DATA,
    pdu.Type.RELEASE_RQ: Event.RELEASE_RQ,
    pdu.Type.RELEASE_RP: Event.OTHER_PDU,
    pdu.Type.ABORT: Event.ABORT,
}


@dataclass(frozen=True, slots=True)
class Released:
    """The peer asks for the release."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The association ended otherwise; `why` is for the log."""

    why: str


Indication = pdu.AssociateRequest | pdu.Fragment | Released | Ended


class UpperLayer:
    """One transport connection, from its opening."""

    def __init__(self) -> None:
        self.state = State.STA1
        self.outgoing: deque[Iterator[bytes]] = deque()
        self.max_length = 0
        self._received = bytearray()
        self._indications: deque[Indication] = deque()
        self._fire(Event.CONNECTED)

    @property
    def is_closed(self) -> bool:
        """Whether the transport connection is to be closed."""
        return self.state is State.STA1

    @property
    def has_part_of_pdu(self) -> bool:
        """Whether a PDU has begun to come and is not whole."""
        return bool(self._received)

    def receive(self, data: bytes) -> None:
        """Bytes that came; b"" where the peer has closed."""
        if self.is_closed:
            return
        if not data:
            self._fire(Event.CLOSED)
        elif self.state is not State.STA13:
            self._received += data

    def next(self) -> Indication | None:
        """The next that the bytes mean, None where more of them are needed."""
        while not self._indications and self._take_pdu():
            pass
        return self._indications.popleft() if self._indications else None

    def _take_pdu(self) -> bool:
        """Take one PDU off what was received."""
        if self.state in (State.STA1, State.STA13) or len(self._received) < pdu.HEADER:
            return False
        try:
            kind, length = pdu.header(self._received)
            end = pdu.HEADER + length
            if len(self._received) < end:
                return False
            body = bytes(self._received[pdu.HEADER : end])
            del self._received[:end]
            self._fire(_EVENTS[kind], body)
        except pdu.Invalid as problem:
            self._fire(Event.INVALID_PDU, problem=problem)
        return True

    # --- of this side ---

    def accept(self, request: pdu.AssociateRequest, answers: list[pdu.Accepted]) -> None:
        """Establish the association."""
        self.max_length = request.max_length
        self._send(Event.ACCEPT, pdu.associate_accept(request, answers))

    def reject(self, rejection: pdu.Rejection) -> None:
        """Refuse the association."""
        self._send(Event.REJECT, pdu.associate_reject(rejection))

    def send(self, context: int, is_command: bool, content: bytes) -> None:
        """Send a command or a dataset."""
        self._fire(Event.P_DATA_REQUEST)
        self.outgoing.append(pdu.data(context, is_command, content, self.max_length))

    def release(self) -> None:
        """Agree to the release."""
        self._send(Event.RELEASE, pdu.release_response())

    def abort(self, why: str) -> None:
        """End it from this side; nothing where it has ended."""
        if (self.state, Event.ABORT_REQUEST) in TABLE:
            self._fire(Event.ABORT_REQUEST)
            self._indications.append(Ended(why))

    def time_out(self) -> None:
        """The peer let the ARTIM timer expire."""
        self._fire(Event.TIMEOUT)

    # --- actions ---

    def _send(self, event: Event, content: bytes) -> None:
        self._fire(event)
        self.outgoing.append(iter((content,)))

    def _fire(self, event: Event, body: bytes = b"", problem: pdu.Invalid | None = None) -> None:
        action, state = TABLE[self.state, event]
        perform = _PERFORM.get(action)
        if perform is not None:
            perform(self, event, body, problem)
        self.state = state

    def _indicate_request(self, event: Event, body: bytes, problem: pdu.Invalid | None) -> None:
        self._indications.append(pdu.read_associate_request(body))

    def _indicate_data(self, event: Event, body: bytes, problem: pdu.Invalid | None) -> None:
        self._indications.extend(pdu.read_fragments(body))

    def _indicate_release(self, event: Event, body: bytes, problem: pdu.Invalid | None) -> None:
        self._indications.append(Released())

    def _indicate_end(self, event: Event, body: bytes, problem: pdu.Invalid | None) -> None:
        aborted = event is Event.ABORT
        self._indications.append(Ended("the peer aborts" if aborted else "the peer has gone"))

    def _abort_as_user(self, event: Event, body: bytes, problem: pdu.Invalid | None) -> None:
        self.outgoing.clear()
        self.outgoing.append(iter((pdu.abort(),)))
        if event is not Event.ABORT_REQUEST:
            self._indications.append(Ended(str(problem or f"{event.value} before its time")))

    def _abort_as_provider(self, event: Event, body: bytes, problem: pdu.Invalid | None) -> None:
        reason = problem.reason if problem else pdu.Invalid.UNEXPECTED
        self.outgoing.clear()
        self.outgoing.append(iter((pdu.abort(reason),)))
        self._indications.append(Ended(str(problem or f"{event.value} out of turn")))


_Perform = Callable[[UpperLayer, Event, bytes, pdu.Invalid | None], None]
_PERFORM: Mapping[Action, _Perform] = {
    Action.AE_6: UpperLayer._indicate_request,
    Action.DT_2: UpperLayer._indicate_data,
    Action.AR_2: UpperLayer._indicate_release,
    Action.AA_1: UpperLayer._abort_as_user,
    Action.AA_3: UpperLayer._indicate_end,
    Action.AA_4: UpperLayer._indicate_end,
    Action.AA_8: UpperLayer._abort_as_provider,
}
