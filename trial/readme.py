"""The commands of a document, word by word, as a person would type them.

Decides: which of its lines are commands, and what stands in for what a test can't have: a
repository on the internet, an OpenMRS, an editor, systemd. All else is run as it is written.
"""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path

from standin import Account, Standin
from standin.samples import patients
from standin.server import DEFAULT_ACCOUNTS

ROOT = Path(__file__).resolve().parent.parent
SECTION = "A worklist in ten minutes"
USER, PASSWORD = "worklist", "Zeta/9&|pass"
CT_STEPS = "Modality=CT"


def commands(text: str, title: str) -> list[str]:
    """The commands of a section of the second level, in order: its indented lines."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, title
    lines = [line[4:] for line in found[1].splitlines() if line.startswith("    ")]
    assert lines, title
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def stand_ins(openmrs: str, clone: str, start: str) -> Mapping[str, str]:
    """What is run in place of what a test can't have, by the beginning of a command."""
    account = (
        f'"ImagingWorklistUsername" : "{USER}"',
        f'"ImagingWorklistPassword" : "{PASSWORD}"',
    )
    edit = " ".join(
        f"-e {shlex.quote(f's~{old}~{new}~')}"
        for old, new in (
            ('"ImagingWorklistUsername" : "orthanc"', account[0].replace("&", r"\&")),
            ('"ImagingWorklistPassword" : "change-me"', account[1].replace("&", r"\&")),
        )
    )
    return {
        "git clone ": clone,
        "sed -i 's|http://127.0.0.1:8080/|https://openmrs.example.org/|'": (
            f"sed -i 's|http://127.0.0.1:8080/|{openmrs}/|' /etc/orthanc/python.json"
        ),
        "nano /etc/orthanc/python.json": f"sed -i {edit} /etc/orthanc/python.json",
        "systemctl restart orthanc": start,
    }


def typed(lines: Iterable[str], instead: Mapping[str, str]) -> Iterator[str]:
    """Each command as it is run; every stand-in must be needed."""
    left = set(instead)
    for line in lines:
        known = next((start for start in instead if line.startswith(start)), None)
        left.discard(known or "")
        yield line if known is None else instead[known]
    assert not left, f"no command begins with {left}"


def openmrs_with_orders() -> Standin:
    """An OpenMRS with an account for the reader, and orders for today."""
    standin = Standin(accounts={USER: Account(PASSWORD, DEFAULT_ACCOUNTS["imaging"].privileges)})
    for sample in patients(20, date.today()):
        sample.add_to(standin.records)
    return standin


def checked(output: str, openmrs: Standin) -> None:
    """What the reader must see at last: OpenMRS is reached, the scanner gets names."""
    assert '"Reachable": true' in output, "OpenMRS isn't reached"
    names = output.count("(0010,0010) PN [")
    steps = sum(step.modality == "CT" for one in openmrs.records.requests() for step in one.steps)
    assert names == steps > 0, f"{names} names for {steps} CT steps:\n{output[-3000:]}"


START = """
sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/orthanc.service > /run/orthanc.command
runuser -u orthanc -- $(cat /run/orthanc.command) > /run/orthanc.output 2>&1 &
for attempt in $(seq 60); do
    curl --silent --fail http://127.0.0.1:8042/openmrs/status 2>/dev/null |
        grep -q '"Reachable": true' && break
    sleep 0.5
done
"""
"""The service's own command line by its own user: there is no systemd in a folder."""


def main() -> int:
    """Run README.md's commands in a Debian whose root is a folder; 0 where a scanner works."""
    parser = argparse.ArgumentParser(prog="script/test-readme", description=main.__doc__)
    parser.add_argument("root", type=Path)
    root: Path = parser.parse_args().root
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    with openmrs_with_orders() as openmrs:
        clone = "cp -r /srv/checkout /opt/orthanc-openmrs"
        lines = typed(commands(text, SECTION), stand_ins(openmrs.origin, clone, START))
        script = root / "srv" / "readme.sh"
        script.write_text("set -eux\nexport DEBIAN_FRONTEND=noninteractive\n" + "\n".join(lines))
        inside = (
            'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; '
            'exec chroot "$0" sh /srv/readme.sh'
        )
        started = time.monotonic()
        run = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", inside, root],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = run.communicate(timeout=900)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            raise
        sys.stdout.write(output)
        assert run.returncode == 0, f"a command of README.md failed ({run.returncode})"
        checked(output, openmrs)
    print(f"README.md works: {time.monotonic() - started:.0f} s from the first command to the last")
    return 0


if __name__ == "__main__":
    sys.exit(main())
