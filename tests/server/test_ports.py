"""Test runs side by side never start a server on the same port."""

from contextlib import closing

from trial.ports import BLOCK, Ports


def test_no_two_leases_have_a_port_in_common() -> None:
    with closing(Ports()) as one, closing(Ports()) as other:
        ports = [{lease.free() for _ in range(2 * BLOCK)} for lease in (one, other)]
    assert ports[0].isdisjoint(ports[1])
    assert all(len(found) > BLOCK // 2 for found in ports)
