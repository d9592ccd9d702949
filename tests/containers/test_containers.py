"""The images and the compose files, built and run by podman: the whole loop inside.

`script/test-containers` sets ORTHANC_OPENMRS_COMPOSE, the command of podman-compose, and
ORTHANC_OPENMRS_BUILD, what this machine adds to every build.
"""

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPBasicAuth

from trial import scanner
from trial.ports import free_port
from trial.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
TRY, PRODUCTION = "compose.try.yaml", "compose.yaml"
POSTGRES = "docker.io/library/postgres:17"
STANDIN, PLUGIN = "localhost/openmrs-standin", "localhost/orthanc-openmrs"
BUILD = os.environ["ORTHANC_OPENMRS_BUILD"].split()
COMPOSE = os.environ["ORTHANC_OPENMRS_COMPOSE"]
LIST = "/openmrs/ws/rest/v1/worklist/requests"
UPDATE = "/openmrs/ws/rest/v1/worklist/updaterequeststatus"
HARD = '§ it\'s "hard" \\ 50% $HOME/@:x'
"""A password that means something to JSON, to a shell, to an URL and to libpq."""

START_TIMEOUT = 120


def podman(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman; AssertionError with what it said where it fails."""
    done = subprocess.run(
        ["podman", *words], capture_output=True, text=True, check=False, timeout=1800
    )
    assert not check or done.returncode == 0, f"podman {' '.join(words)}:\n{done.stderr}"
    return done


class Composed:
    """A project of a compose file, on free ports."""

    def __init__(self, file: str, environment: Mapping[str, str]) -> None:
        self.project = f"openmrs-test-{uuid.uuid4().hex[:8]}"
        self.http_port, self.dicom_port, self.standin_port = (free_port() for _ in range(3))
        self._file = file
        self._environment = {
            **os.environ,
            **environment,
            "HTTP_PORT": str(self.http_port),
            "DICOM_PORT": str(self.dicom_port),
            "STANDIN_PORT": str(self.standin_port),
        }
        self.session = requests.Session()
        self.session.trust_env = False

    def compose(self, *words: str) -> str:
        """Run podman-compose."""
        done = subprocess.run(
            [COMPOSE, "-p", self.project, "-f", str(ROOT / "docker" / self._file), *words],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
            timeout=1800,
        )
        assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def container(self, service: str) -> str:
        """The id of a service's container."""
        label = "label=io.podman.compose."
        (found,) = podman(
            *("ps", "--all", "--quiet", "--filter", f"{label}project={self.project}"),
            *("--filter", f"{label}service={service}"),
        ).stdout.split()
        return found

    def get(self, path: str) -> Any:
        """The JSON of a route of Orthanc; None where it isn't answered with 200."""
        try:
            response = self.session.get(f"http://127.0.0.1:{self.http_port}{path}", timeout=10)
        except requests.RequestException:
            return None
        return response.json() if response.status_code == 200 else None

    def status_of(self, path: str) -> int:
        """The status of a route without a login."""
        return requests.get(f"http://127.0.0.1:{self.http_port}{path}", timeout=10).status_code

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait; the log of Orthanc says why it didn't happen."""
        try:
            eventually(condition, what, START_TIMEOUT)
        except AssertionError as problem:
            log = podman("logs", self.container("orthanc"), check=False)
            raise AssertionError(f"{problem}\n{log.stdout[-3000:]}{log.stderr[-3000:]}") from None

    def offers(self, count: int) -> None:
        """Wait until so many steps are offered."""
        self.until(
            lambda: (self.get("/openmrs/status") or {}).get("Worklist", {}).get("Offered") == count,
            f"the worklist doesn't offer {count} steps",
        )

    def delivered(self, count: int) -> None:
        """Wait until so many notifications are delivered."""
        self.until(
            lambda: (
                (self.get("/openmrs/status") or {}).get("Notifications", {}).get("Delivered")
                == count
            ),
            f"{count} notifications aren't delivered",
        )

    def inside(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in Orthanc's container."""
        options = [word for key, text in environment.items() for word in ("-e", f"{key}={text}")]
        return podman("exec", *options, self.container("orthanc"), *command, check=False)


@contextmanager
def composed(file: str, **environment: str) -> Iterator[Composed]:
    """A project that is gone afterwards, volumes too."""
    project = Composed(file, environment)
    try:
        project.compose("up", "--detach")
        yield project
    finally:
        project.session.close()
        project.compose("down", "--volumes")


@pytest.fixture(scope="module", autouse=True)
def images() -> None:
    """The images of both compose files, and the one that can't be pulled."""
    for file in (TRY, PRODUCTION):
        build = [f"--podman-build-args={' '.join(BUILD)}"] if BUILD else []
        subprocess.run(
            [COMPOSE, *build, "-f", str(ROOT / "docker" / file), "build"],
            check=True,
            env={**os.environ, "BUILDAH_FORMAT": "docker"},
            timeout=1800,
        )
    if podman("image", "exists", POSTGRES, check=False).returncode:
        folder = ROOT / "tests" / "containers"
        podman(
            "build", *BUILD, "-t", POSTGRES, "-f", str(folder / "postgres.Dockerfile"), str(folder)
        )


def requests_of(port: int) -> list[dict[str, Any]]:
    """What the stand-in knows."""
    url = f"http://127.0.0.1:{port}/standin/requests"
    found: list[dict[str, Any]] = requests.get(url, timeout=10).json()
    return found


def completed(port: int) -> list[int]:
    """The steps that the stand-in has as completed."""
    return [
        step
        for request in requests_of(port)
        for step, status in zip(request["steps"], request["statuses"], strict=True)
        if status == "completed"
    ]


def examine(project: Composed, folder: Path) -> int:
    """Store an image for the first answer; its step."""
    answer = scanner.find(project.dicom_port, ae_title="CT1").answers[0]
    scanner.store(project.dicom_port, [scanner.acquire(answer, folder)])
    return int(answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID)


def test_images_are_small_and_theirs_is_no_root() -> None:
    for image, user, most in ((PLUGIN, "4242", 375), (STANDIN, "65534", 130)):
        (found,) = json.loads(podman("image", "inspect", image).stdout)
        size = found["Size"] / 1e6
        print(f"{image}: {size:.0f} MB")
        assert size < most
        run = podman("run", "--rm", "--entrypoint", "/usr/bin/id", image, "-u")
        assert run.stdout.strip() == user
        # What the builder's machine needed to reach its package sources is not in it.
        kept = podman(
            *("run", "--rm", "--entrypoint", "/usr/bin/find", image),
            *("/etc/pip.conf", "/root/.config", "/root/.npmrc", "/usr/local/share/ca-certificates"),
            *("-type", "f", "-size", "+0"),
            check=False,
        )
        assert kept.stdout == ""
        check = found.get("HealthCheck") or found.get("Healthcheck")
        assert bool(check) == (image == PLUGIN)


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({}, "ORTHANC_USERS or ORTHANC_USERS_FILE is missing"),
        ({"ORTHANC_USERS": "openmrs:secret-word"}, "ORTHANC_USERS isn't a JSON object"),
        ({"ORTHANC_USERS": "{}"}, "ORTHANC_USERS has no user"),
        (
            {"ORTHANC_USERS_FILE": "/run/secrets/none"},
            "ORTHANC_USERS_FILE: /run/secrets/none can't",
        ),
        (
            {
                "ORTHANC_USERS": '{"a": "secret-word"}',
                "IMAGING_WORKLIST_PASSWORD": "secret-word",
                "IMAGING_WORKLIST_PASSWORD_FILE": "/run/secrets/none",
            },
            "IMAGING_WORKLIST_PASSWORD and IMAGING_WORKLIST_PASSWORD_FILE are both set",
        ),
        (
            {"ORTHANC_USERS": '{"a": "secret-word"}'},
            "ImagingUpdateRequestStatus: is text, expected a URL",
        ),
    ],
)
def test_setting_that_cant_be_used_ends_the_container_with_a_line_that_names_it(
    environment: Mapping[str, str], line: str
) -> None:
    options = [word for key, text in environment.items() for word in ("-e", f"{key}={text}")]
    run = podman("run", "--rm", *options, PLUGIN, check=False)
    assert run.returncode != 0
    said = run.stdout + run.stderr
    assert line in said
    assert "secret-word" not in said


def test_try_out_shows_the_whole_loop(tmp_path: Path) -> None:
    with composed(TRY) as project:
        project.session.auth = ("openmrs", "change-me")
        project.offers(12)
        for path in ("/system", "/openmrs/status", "/openmrs/worklist"):
            assert project.status_of(path) == 401
        assert len(scanner.find(project.dicom_port).answers) == 12

        step = examine(project, tmp_path)
        project.until(
            lambda: completed(project.standin_port) == [step], f"step {step} isn't completed"
        )
        project.delivered(1)
        project.offers(11)

        container = project.container("orthanc")
        assert podman("healthcheck", "run", container).returncode == 0
        check = ("/usr/bin/python3", "/usr/local/lib/orthanc-openmrs/healthcheck.py")
        refused = project.inside(*check, ORTHANC_USERS='{"openmrs": "wrong"}')
        assert (refused.returncode, refused.stdout) == (1, "/openmrs/status answers 401\n")

        # OpenMRS is away and Orthanc starts again: the list is kept, and the container healthy.
        fault = f"http://127.0.0.1:{project.standin_port}/standin/fault"
        requests.put(fault, json={"kind": "cut"}, timeout=10).raise_for_status()
        podman("restart", container)
        project.offers(11)
        assert project.get("/openmrs/status")["OpenMRS"]["Reachable"] is False
        assert len(scanner.find(project.dicom_port).answers) == 11
        assert podman("healthcheck", "run", container).returncode == 0


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The three files, which only the container's user can read."""
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    for name, text in {
        "openmrs-password": "Imaging123\n",
        "orthanc-users": json.dumps({"administrator": HARD}),
        "database-password": HARD,
    }.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o400)
        os.chown(path, 4242, 4242)
    return folder


def test_production_keeps_everything_in_postgresql_with_secrets_from_files(
    secrets: Path, tmp_path: Path
) -> None:
    with composed(
        PRODUCTION,
        IMAGING_WORKLIST_URL="http://openmrs:8080" + LIST,
        IMAGING_UPDATE_REQUEST_STATUS="http://openmrs:8080" + UPDATE,
        IMAGING_WORKLIST_USERNAME="imaging",
        ORTHANC_NAME='Röntgen "1" \\ 2',
        SECRETS=str(secrets),
        STABLE_AGE="2",
        TZ="Africa/Nairobi",
    ) as project:
        name = f"{project.project}-openmrs"
        podman(
            *("run", "--detach", "--rm", "--name", name, "--network", f"{project.project}_default"),
            *("--network-alias", "openmrs", "-p", f"127.0.0.1:{project.standin_port}:8080"),
            STANDIN,
        )
        try:
            project.session.auth = HTTPBasicAuth(b"administrator", HARD.encode())
            project.offers(12)
            assert project.status_of("/openmrs/status") == 401
            assert project.get("/system")["Name"] == 'Röntgen "1" \\ 2'
            assert "postgresql" in json.dumps(project.get("/plugins"))
            step = examine(project, tmp_path)
            project.until(
                lambda: completed(project.standin_port) == [step], f"step {step} isn't completed"
            )
            project.delivered(1)
            container = project.container("orthanc")
            assert podman("healthcheck", "run", container).returncode == 0
            assert project.inside("date", "+%Z").stdout.strip() == "EAT"
            files = project.inside("find", "/var/lib/orthanc/db", "-name", "*.db").stdout
            assert files == "", "nothing is in SQLite"
            databases = podman(
                *("exec", project.container("database"), "sh", "-c"),
                "/usr/lib/postgresql/*/bin/psql -h /tmp -U orthanc -d openmrs -Atc "
                "'select count(*) from notifications'",
            )
            assert int(databases.stdout) >= 1
            said = podman("logs", container)
            inspected = podman("inspect", container).stdout
            for secret in ("Imaging123", HARD, json.dumps(HARD)[1:-1]):
                assert secret not in said.stdout + said.stderr + inspected

            # Everything is taken away but the volumes, and comes again.
            podman("stop", "--time", "20", container)
            for service in ("orthanc", "database"):
                podman("rm", "--force", project.container(service))
            project.compose("up", "--detach")
            project.delivered(1)
            assert project.get("/statistics")["CountStudies"] == 1
            project.offers(11)
        finally:
            podman("rm", "--force", "--time", "2", name)
