"""What the doctor tells a person to type: the only place where its commands are made.

Decides: how each repair is made without harm. A command changes what is the plugin's own: a file
of Orthanc's configuration, the plugin's code, its database. It never reaches a folder above them,
nor a file of another program, which is copied instead. Must not know: when it is said.
"""

import pwd
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orthanc_openmrs.doctor.machine import User

CODE = Path("/opt/orthanc-openmrs")
DATA = Path("/var/lib/orthanc-openmrs")


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do: commands for root's shell, after the words."""

    words: str = ""
    commands: tuple[str, ...] = ()

    def __str__(self) -> str:
        typed = " && ".join(self.commands)
        return f"{self.words}: {typed}" if self.words and typed else self.words or typed


def _command(*words: object) -> str:
    return shlex.join(map(str, words))


# --- Orthanc's configuration -----------------------------------------------------------------


def let_read(user: User, file: Path) -> Advice:
    """A file of Orthanc's configuration, whose folder the user can enter."""
    return Advice(
        commands=(_command("chgrp", user.group, file), _command("chmod", "640", file)),
    )


def move_configuration(user: User) -> Advice:
    """One in a folder that is shut to the user."""
    return Advice(
        f"put Orthanc's configuration where {user.name} can read it, as Debian's package does: "
        "in /etc/orthanc/"
    )


def copy_beside_configuration(user: User, file: Path, folder: Path, key: str) -> Advice:
    """A certificate or key, which other programs may use too."""
    copy = folder / file.name
    return Advice(
        f"give Orthanc a copy, and name {copy} in {key}",
        (_command("install", "-b", "-o", "root", "-g", user.group, "-m", "640", file, copy),),
    )


# --- the plugin's code -----------------------------------------------------------------------


def is_own_folder(folder: Path) -> bool:
    """Whether a folder is the plugin's alone: not a home, nor one of the system's."""
    homes = {entry.pw_dir for entry in pwd.getpwall()}
    return (
        len(folder.parts) > 2
        and str(folder) not in homes
        and (folder / "orthanc_openmrs").is_dir()
        and (folder / "orthancWorklist.py").is_file()
    )


def let_read_code(folder: Path) -> Advice:
    """The plugin's own folder. Of a checkout, what Orthanc needs: it may hold secrets too."""
    if not (folder / "pyproject.toml").exists():
        return Advice(commands=(_command("chmod", "-R", "a+rX", folder),))
    names = ("orthancWorklist.py", "orthanc_openmrs", ".venv")
    parts = [folder / name for name in names if (folder / name).exists()]
    return Advice(
        commands=(
            _command("chmod", "a+rx", folder),
            _command("chmod", "-R", "a+rX", *parts),
        )
    )


def move_code(folder: Path) -> Advice:
    """Code in a folder that is shut to Orthanc's user, such as a home."""
    words = f'install it in {CODE}, and set "PythonScript": "{CODE}/orthancWorklist.py"'
    if not (folder / ".git").is_dir():
        return Advice(f"{words}: docs/installation.md has the commands")
    return Advice(
        words,
        (
            "umask 022",
            _command("git", "clone", "--quiet", "--no-hardlinks", folder, CODE),
            _command(CODE / "script" / "setup"),
        ),
    )


def install_again(folder: Path) -> Advice:
    """Packages that the embedded Python doesn't find."""
    if (folder / "script" / "setup").exists():
        setup = _command(folder / "script" / "setup")
        return Advice(
            "make its packages again",
            ("umask 022", _command("rm", "-rf", folder / ".venv"), setup),
        )
    return Advice(
        f"install it again into {folder}, with the Python that Orthanc embeds: "
        "docs/installation.md has the commands"
    )


# --- the database ----------------------------------------------------------------------------


def own_database_folder(user: User) -> Advice:
    """A folder for the database, where it can't be made in the one that is configured."""
    folder = _command("install", "-d", "-o", user.name, "-g", user.group, "-m", "750", DATA)
    return Advice(
        f'make a folder for it, set "Database": "sqlite:///{DATA}/openmrs.db" in the section '
        "OpenMRS, and move the old file there with Orthanc stopped, where there is one",
        (folder,),
    )


def own_database_files(user: User, files: Iterable[Path]) -> Advice:
    """The database's own files, in a folder where the user can make files."""
    return Advice(commands=(_command("chown", f"{user.name}:{user.group}", *files),))


# --- the system ------------------------------------------------------------------------------


def install_package(name: str, why: str = "") -> Advice:
    """A package of Debian's."""
    return Advice(why, (_command("apt-get", "install", name),))


def look_at_service() -> Advice:
    """Why Orthanc isn't there."""
    return Advice("what stopped it is in Orthanc's log", ("systemctl status orthanc",))
