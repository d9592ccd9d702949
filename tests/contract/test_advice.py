"""The doctor's advice is safe: every command that it can print is run as root in a copy of this
machine's files, and changes nothing but what is the plugin's own."""

import ast
import inspect
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from orthanc_openmrs.doctor import advice
from orthanc_openmrs.doctor.advice import CODE, DATA, Advice
from orthanc_openmrs.doctor.machine import user_of

ROOT = Path(__file__).resolve().parents[2]
DOCTOR = ROOT / "orthanc_openmrs" / "doctor"
NOBODY = user_of(65534)

ETC = Path("/etc/orthanc")
OWN = Path("/srv/imaging/orthanc-openmrs")
HOME = Path("/root/orthanc-openmrs")
INDEX = Path("/var/lib/orthanc/db-v6")
DATABASE = [INDEX / f"openmrs.db{suffix}" for suffix in ("", "-wal", "-shm")]

CHECKOUT = (
    "umask 077; mkdir -p {0}/orthanc_openmrs {0}/docker/secrets {0}/script {0}/.venv; cd {0}; "
    "touch pyproject.toml orthancWorklist.py orthanc_openmrs/plugin.py docker/secrets/password; "
    'printf \'#!/bin/sh\\ncd "$(dirname "$0")/.."; mkdir -p .venv; echo > .venv/made\' '
    "> script/setup; "
    "chmod +x script/setup; git init -q .; git add script orthancWorklist.py orthanc_openmrs; "
    "git -c user.name=n -c user.email=e commit -qm c; "
)


def of_a_checkout(give: Callable[[Path], Advice], folder: Path) -> Advice:
    """The advice for a checkout that will be in this folder."""
    with TemporaryDirectory() as name:
        here = Path(name)
        for part in (".git", ".venv", "orthanc_openmrs", "script"):
            (here / part).mkdir()
        for part in ("pyproject.toml", "orthancWorklist.py", "script/setup"):
            (here / part).touch()
        given = give(here)
    return Advice(given.words, tuple(one.replace(name, str(folder)) for one in given.commands))


@dataclass(frozen=True)
class Repair:
    """What is broken before, the advice, the files that may change, and what works after it."""

    made: Advice
    broken: str = ""
    may_change: str = "nothing"
    works: str = "true"


REPAIRS: dict[Callable[..., Advice], list[Repair]] = {
    advice.let_read: [
        Repair(
            advice.let_read(NOBODY, ETC / "python.json"),
            f"mkdir -p {ETC}; chmod 755 {ETC}; (umask 077; touch {ETC}/python.json)",
            f"{ETC}/python.json",
            f"test -r {ETC}/python.json",
        )
    ],
    advice.copy_beside_configuration: [
        Repair(
            advice.copy_beside_configuration(
                NOBODY, Path("/etc/ssl/private/site.key"), ETC, "OpenMRS.ClientKey"
            ),
            f"mkdir -p {ETC} /etc/ssl/private; chmod 755 {ETC}; "
            "(umask 077; echo secret > /etc/ssl/private/site.key)",
            f"{ETC}/site.key",
            f"test -r {ETC}/site.key && ! test -r /etc/ssl/private/site.key",
        ),
        Repair(
            advice.copy_beside_configuration(NOBODY, Path("/etc/x/a.pem"), ETC, "key"),
            f"mkdir -p {ETC} /etc/x; chmod 755 {ETC}; "
            f"echo new > /etc/x/a.pem; echo 1 > {ETC}/a.pem",
            f"{ETC}/a.pem~?",
            f"grep -q new {ETC}/a.pem && grep -q 1 {ETC}/a.pem~",
        ),
    ],
    advice.move_configuration: [Repair(advice.move_configuration(NOBODY))],
    advice.let_read_code: [
        Repair(
            of_a_checkout(advice.let_read_code, OWN),
            f"mkdir -p {OWN.parent}; {CHECKOUT.format(OWN)}",
            rf"{OWN}|{OWN}/(\.venv|orthanc_openmrs|orthancWorklist\.py)(/.*)?",
            f"test -r {OWN}/orthanc_openmrs/plugin.py && ! test -r {OWN}/docker/secrets/password",
        ),
        Repair(
            advice.let_read_code(OWN),
            f"mkdir -p {OWN.parent}; umask 077; mkdir -p {OWN}/pydicom; touch {OWN}/pydicom/x.py",
            f"{OWN}(/.*)?",
            f"test -r {OWN}/pydicom/x.py",
        ),
    ],
    advice.move_code: [
        Repair(advice.move_code(Path("/root"))),
        Repair(
            of_a_checkout(advice.move_code, HOME),
            CHECKOUT.format(HOME),
            f"{CODE}(/.*)?",
            f"test -r {CODE}/orthanc_openmrs/plugin.py && test -r {CODE}/.venv/made",
        ),
    ],
    advice.install_again: [
        Repair(advice.install_again(Path("/srv/libraries"))),
        Repair(
            of_a_checkout(advice.install_again, OWN),
            f"mkdir -p {OWN.parent}; {CHECKOUT.format(OWN)} chmod -R a+rX {OWN}",
            rf"{OWN}/\.venv(/.*)?",
            f"test -r {OWN}/.venv/made",
        ),
    ],
    advice.own_database_folder: [
        Repair(
            advice.own_database_folder(NOBODY),
            may_change=f"{DATA}(/.*)?",
            works=f"touch {DATA}/openmrs.db",
        )
    ],
    advice.own_database_files: [
        Repair(
            advice.own_database_files(NOBODY, DATABASE),
            f"mkdir -p {INDEX}; chmod 755 {INDEX.parent} {INDEX}; touch {INDEX}/index "
            + " ".join(map(str, DATABASE)),
            f"{DATABASE[0]}(-wal|-shm)?",
            f"test -w {DATABASE[0]}",
        )
    ],
}
"""For each piece of advice that touches files, what it does."""

SYSTEM = {
    advice.install_package: [advice.install_package("dcmtk"), advice.install_package("x", "why")],
    advice.look_at_service: [advice.look_at_service()],
}
"""Those that don't: Debian's own package manager, and a question."""

HARMLESS = re.compile(r"apt-get install [a-z0-9.-]+|systemctl (status|restart) orthanc")
COMMANDS = re.compile(
    r"\b(ch(mod|own|grp|attr)|setfacl|install -|rm -|mv |cp |mkdir|git |apt|dpkg|systemctl|kill|"
    r"user(mod|add)|sudo [a-z-]+ |pip install)"
)
WORDS_ONLY = re.compile(r"run the doctor with sudo|timedatectl set-ntp true")


def test_every_piece_of_advice_is_tried() -> None:
    functions: set[object] = {
        one
        for _, one in inspect.getmembers(advice, inspect.isfunction)
        if one.__module__ == advice.__name__ and one.__annotations__.get("return") is Advice
    }
    assert {*REPAIRS, *SYSTEM} == functions
    for made in SYSTEM.values():
        for one in made:
            assert one.commands
            assert all(HARMLESS.fullmatch(command) for command in one.commands)


def test_the_doctors_commands_are_made_in_one_place() -> None:
    for path in DOCTOR.glob("*.py"):
        if path.name == "advice.py":
            continue
        tree = ast.parse(path.read_text())
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) in documents or WORDS_ONLY.search(node.value):
                    continue
                assert not COMMANDS.search(node.value), f"{path.name}: {node.value}"


def test_code_that_isnt_the_plugins_alone_is_never_opened(tmp_path: Path) -> None:
    own = tmp_path / "orthanc-openmrs"
    (own / "orthanc_openmrs").mkdir(parents=True)
    (own / "orthancWorklist.py").touch()
    assert advice.is_own_folder(own)
    assert advice.let_read_code(own).commands == (f"chmod -R a+rX {own}",)
    assert not advice.is_own_folder(tmp_path)
    for folder in ("/", "/root", "/srv", "/opt", "/usr/lib"):
        assert not advice.is_own_folder(Path(folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a copy of the machine's files")
@pytest.mark.parametrize(
    "repair",
    [repair for repairs in REPAIRS.values() for repair in repairs if repair.made.commands],
    ids=lambda repair: str(repair.made)[:40],
)
def test_a_command_repairs_and_changes_nothing_but_the_plugins_own(
    repair: Repair, tmp_path: Path
) -> None:
    typed = " && ".join(repair.made.commands)
    works = f"runuser -u {NOBODY.name} -- sh -c '{repair.works}'"
    changed = run_in_copy(tmp_path, repair.broken or "true", typed, works)
    assert changed
    for path in changed:
        assert re.fullmatch(repair.may_change, path), path


def run_in_copy(scratch: Path, before: str, command: str, after: str) -> list[str]:
    """Run three scripts, one on what the other left, on the machine's files with nothing kept;
    the paths that the second one changed."""
    script = r"""
        mount -t tmpfs tmpfs "$1"; cd "$1"
        mkdir all broken repaired proved unchanged work1 work2 work3 work4
        over() { mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" all; }
        within() { mount --bind /dev all/dev; chroot all sh -ec "$1"; umount all/dev all; }
        over / broken work1; within "$2"
        over "$PWD/broken:/" repaired work2; within "$3"
        over "$PWD/repaired:$PWD/broken:/" proved work3; within "$4"
        over "$PWD/broken:/" unchanged work4
        cd repaired; find . -mindepth 1 | while read -r path; do
            new=$(stat -c '%F %a %u %g' "$path")
            old=$(stat -c '%F %a %u %g' "../all/$path" 2>/dev/null || true)
            [ -d "$path" ] && [ "$new" = "$old" ] || echo "${path#.}"
        done
        umount ../all
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", script, "sh", str(scratch), before, command, after],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
