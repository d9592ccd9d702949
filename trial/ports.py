"""Ports for servers that are started a moment later, which nobody else takes meanwhile.

Decides: which port of the loopback interface is next. Each process leases a block of ports by
listening on the block's first one, so that test runs side by side never choose the same; the
kernel ends the lease with the process. The blocks lie below the ports that the kernel gives to
outgoing connections, which would take a port while its server restarts.
"""

import socket
from functools import cache
from itertools import cycle, islice

FIRST, BLOCK, BLOCKS = 12_000, 200, 100


class Ports:
    """The ports of one process's block, one after the other, round and round."""

    def __init__(self) -> None:
        for first in range(FIRST, FIRST + BLOCK * BLOCKS, BLOCK):
            lease = _bound(first)
            if lease is not None:
                lease.listen()
                self._lease = lease
                self._next = cycle(range(first + 1, first + BLOCK))
                return
        raise OSError(f"no block of ports is free from {FIRST} on")

    def free(self) -> int:
        """A port of the block that nobody uses now."""
        for port in islice(self._next, BLOCK):
            probe = _bound(port)
            if probe is not None:
                probe.close()
                return port
        raise OSError("no port of the block is free")

    def close(self) -> None:
        """End the lease."""
        self._lease.close()


def free_port() -> int:
    """A port of the loopback interface that is this process's own."""
    return _ports().free()


@cache
def _ports() -> Ports:
    return Ports()


def _bound(port: int) -> socket.socket | None:
    one = socket.socket()
    try:
        one.bind(("127.0.0.1", port))
    except OSError:
        one.close()
        return None
    return one
