"""Podman for tests: in a storage and a mount namespace of its own, with stand-ins for images of registries.

Where no registry can be reached, the base image is made of Debian packages, and PostgreSQL is the server of the Python
wheel. They have the names that the shipped files use, in a storage that is removed with the test: the images of the
machine are neither used nor changed. Two limits of containers that run within a container are met: files and processes
can have no higher limit than this process has, and crun wants cgroups of version 1 alone.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backfill_assets_tests.deployment.deploy_files import ROOT

PYTHON_IMAGE = "docker.io/library/python:3.11-slim-bookworm"
POSTGRES_IMAGE = "docker.io/library/postgres:17"
CADDY_IMAGE = "docker.io/library/caddy:2.10"
STAND_INS = Path(__file__).with_name("stand_ins")
_PROGRAMS = ("podman", "netavark", "iptables", "mmdebstrap", "nsenter", "unshare")
_PATH = "/usr/sbin:/usr/lib/podman"
# Certificates and settings of this machine's pip, for builds that go through a proxy.
_MOUNTED = ("/etc/ssl/certs", "/etc/pip.conf", "/root/.config/pip")


def skip_without_podman() -> None:
    """Skip the test, with the reason, where containers cannot be run."""
    path = f"{os.environ['PATH']}:{_PATH}"
    if os.geteuid() != 0:
        pytest.skip("containers of these tests need root")
    if missing := [name for name in _PROGRAMS if shutil.which(name, path=path) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")


@dataclass
class Podman:
    """One storage of images and containers.

    Attributes:
        folder: its files.
        times: seconds of the long steps, by name.
    """

    folder: Path
    times: dict[str, float] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        """Where the engine's API is."""
        return self.folder / "podman.sock"

    def start(self) -> None:
        """Start the API, in a mount namespace that all other commands enter."""
        files, processes = (
            min(resource.getrlimit(kind)[1], 4096) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
        )
        (self.folder / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]\n'
            f'[network]\nnetwork_config_dir = "{self.folder}/networks"\n'
        )
        (self.folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder}/images"\nrunroot = "{self.folder}/run"\n'
        )
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }
        with (self.folder / "service.log").open("wb") as log:
            self._service = subprocess.Popen(
                [
                    *("unshare", "--mount", "sh", "-c", 'umount /sys/fs/cgroup/unified 2> /dev/null; exec "$@"', "sh"),
                    *("podman", "system", "service", "--time", "0", f"unix://{self.socket}"),
                ],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self.socket.exists():
            assert self._service.poll() is None, (self.folder / "service.log").read_text()
            time.sleep(0.1)

    def close(self) -> None:
        """Remove all containers and end the API."""
        self.run("podman", "rm", "--all", "--force", "--time", "1", check=False)
        self.run("podman", "network", "prune", "--force", check=False)
        os.killpg(self._service.pid, signal.SIGTERM)
        self._service.wait()

    def run(self, *command: str, seconds: float = 900, check: bool = True, cwd: Path = ROOT) -> str:
        """Run a command in the namespace of the storage; returns its output."""
        entered = ["nsenter", f"--target={self._service.pid}", "--mount", f"--wd={cwd}", *command]
        process = subprocess.Popen(
            entered,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException:  # also of Ctrl-C: what the command has started ends, too
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        assert process.returncode == 0 or not check, f"{' '.join(command)[:200]}\n{output[-2000:]}{errors[-3000:]}"
        return output

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Note and print how long a step takes."""
        began = time.monotonic()
        yield
        self.times[name] = time.monotonic() - began
        sys.stderr.write(f"{name}: {self.times[name]:.0f} s\n")

    def make_base_image(self) -> None:
        """Make the stand-in of Python's image: Debian with its own Python 3.11."""
        self._import_debian(PYTHON_IMAGE, "python3,python3-venv,python3-pip,ca-certificates", "base image")

    def make_caddy_image(self) -> None:
        """Make the stand-in of Caddy's image: Debian's Caddy 2.6, in which the directive has its former name."""
        self._import_debian(f"{CADDY_IMAGE}-base", "caddy,ca-certificates", "image of the proxy")
        command = 'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]'
        self._build(
            CADDY_IMAGE, f"FROM {CADDY_IMAGE}-base\nENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config\n{command}\n"
        )

    def make_postgres_image(self, image: str) -> None:
        """Make the stand-in of PostgreSQL's image, out of ours."""
        options = ["--build-arg", f"BASE={image}", "--file", str(STAND_INS / "Containerfile.postgres")]
        self.run(
            "podman",
            "build",
            "--quiet",
            "--isolation=chroot",
            "--format=docker",
            *options,
            "--tag",
            POSTGRES_IMAGE,
            str(STAND_INS),
        )

    def make_product_image(self, image: str) -> None:
        """``make image``, with this machine's way to the package index."""
        mounted = " ".join(f"--volume={path}:{path}:ro" for path in _MOUNTED if Path(path).exists())
        arguments = f"ARGS=--quiet --network=host --isolation=chroot {mounted}"
        self.run("make", "image", f"IMAGE={image}", arguments, seconds=1800)

    def _import_debian(self, image: str, packages: str, step: str) -> None:
        archive = self.folder / "debian.tar"
        with self.measure(step):
            self.run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "bookworm", str(archive))
            self.run("podman", "import", "--quiet", str(archive), image)
        archive.unlink()

    def _build(self, image: str, containerfile: str) -> None:
        (self.folder / "Containerfile").write_text(containerfile)
        self.run(
            "podman",
            "build",
            "--quiet",
            "--isolation=chroot",
            "--format=docker",
            "--tag",
            image,
            "--file",
            str(self.folder / "Containerfile"),
            str(self.folder),
        )


@contextmanager
def open_podman(folder: Path) -> Iterator[Podman]:
    """An engine with an empty storage; everything in it ends with the context."""
    folder.mkdir(parents=True)
    podman = Podman(folder)
    podman.start()
    try:
        yield podman
    finally:
        podman.close()
        subprocess.run(
            ["/usr/bin/umount", "--recursive", "--quiet", str(folder / "images/overlay")],
            check=False,
            capture_output=True,
        )
        shutil.rmtree(folder, ignore_errors=True)
