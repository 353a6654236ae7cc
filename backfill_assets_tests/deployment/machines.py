"""Machines out of namespaces: each has a network, a pid, a uts, an ipc and a mount namespace of its own.

A machine has a name, an address, a hosts file that it shares with the others, and folders of its own in memory. All are
connected to one bridge, which has no way out. Namespaces have no names either: they live as long as the first process
of the machine, and that ends with the tests' process, however it ends. So nothing has to be cleaned up.

What runs on machines is in ``services``.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

SUBNET = "10.77.0"
_PROGRAMS = ("ip", "nsenter", "setpriv", "unshare")
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_END_TIMEOUT_SECONDS = 60
_CLONE_NEWNET = 0x40000000
_NAMESPACES = ("--net", "--uts", "--ipc", "--pid", "--mount", "--mount-proc", "--propagation", "private")
_TRY_NETWORK = "ip link add bridge type bridge && ip link add port type veth peer name eth0"
_TRY_SILENCE = " && nft add table bridge silence"
# The parent of orphans ignores SIGCHLD, so that none of them stays a zombie.
_FIRST_PROCESS = """
trap "" CHLD
mount --bind "$1" /etc/hosts || exit
shift
for folder; do mount -t tmpfs tmpfs "$folder" || exit; done
echo up
exec sleep infinity
"""
# Both directions between two addresses; the packets are lost without a word, as on a broken path.
_SILENCE = """
add table bridge silence
add chain bridge silence forward {{ type filter hook forward priority 0; }}
add rule bridge silence forward ip saddr {one} ip daddr {other} drop
add rule bridge silence forward ip saddr {other} ip daddr {one} drop
"""


def skip_without_machines(*programs: str) -> None:
    """Skip the test where machines cannot be made: without root, or without one of ``programs``."""
    if os.geteuid() != 0:
        pytest.skip("machines out of namespaces need root")
    missing = [name for name in (*_PROGRAMS, *programs) if shutil.which(name, path=_PATH) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt-get install iproute2 util-linux nftables redis-server)")
    script = _TRY_NETWORK + (_TRY_SILENCE if "nft" in programs else "")
    attempt = subprocess.run(
        [shutil.which("unshare", path=_PATH) or "unshare", *_NAMESPACES, "--fork", "sh", "-c", script],
        capture_output=True,
        text=True,
        env={"PATH": _PATH},
    )
    if attempt.returncode:
        pytest.skip(f"machines out of namespaces cannot be made here: {attempt.stderr.strip()}")


class Namespaces:
    """The namespaces of one machine or of the bridge.

    Attributes:
        keeper: the child of the tests that ends with them, and takes the first process with it.
        first_pid: the first process in the namespaces, which keeps them alive; its id outside of them.
    """

    def __init__(self, namespaces: Sequence[str], script: str, arguments: Sequence[str] = ()) -> None:
        keep = ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "--fork", "--kill-child"]
        self.keeper = subprocess.Popen(
            [*keep, "sh", "-c", script, "sh", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C ends the tests, and they end the machines
            env={"PATH": _PATH},
        )
        assert self.keeper.stdout is not None
        answer = self.keeper.stdout.readline().strip()
        assert answer == "up", answer
        (first_process,) = psutil.Process(self.keeper.pid).children()
        self.first_pid = first_process.pid

    def configure_network(self, command: str, text: str | None = None) -> None:
        """Run a command of ``ip`` or ``nft`` in the network namespace."""
        enter = ["nsenter", "--target", str(self.first_pid), "--net", *command.split()]
        done = subprocess.run(enter, input=text, capture_output=True, text=True, env={"PATH": _PATH})
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def is_alive(self) -> bool:
        """Whether the first process runs; without it there is no other."""
        return self.keeper.poll() is None

    def end(self) -> None:
        """Kill every process in the namespaces at once; idempotent."""
        if self.is_alive():
            os.kill(self.first_pid, signal.SIGKILL)
        self.keeper.wait(_END_TIMEOUT_SECONDS)
        assert self.keeper.stdout is not None
        self.keeper.stdout.close()


class Machine:
    """A machine that is switched on.

    Attributes:
        name: its host name.
        address: its address in the network.
        port: its port of the bridge, which is also an interface's name.
        namespaces: what it is made of.
    """

    def __init__(self, name: str, address: str, port: str, namespaces: Namespaces, bridge: Namespaces) -> None:
        self.name, self.address, self.port = name, address, port
        self.namespaces, self._bridge = namespaces, bridge
        self._pid_namespace = _read_pid_namespace(namespaces.first_pid)
        self._programs: list[subprocess.Popen[str]] = []

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], output: IO[str] | int, *, uid: int | None = None
    ) -> "subprocess.Popen[str]":
        """Start a command on the machine, as root or as ``uid``; it ends with the machine at the latest."""
        enter = ["nsenter", "--target", str(self.namespaces.first_pid), "--net", "--uts", "--ipc", "--pid", "--mount"]
        become = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        program = subprocess.Popen(
            [*enter, "--", *become, *command],
            env={"PATH": _PATH, "LC_ALL": "C.UTF-8", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._programs.append(program)
        return program

    def run(self, command: Sequence[str], environment: Mapping[str, str], *, uid: int | None = None) -> str:
        """Run a command on the machine; returns its output.

        Raises:
            AssertionError: it failed.
        """
        process = self.start(command, environment, subprocess.PIPE, uid=uid)
        output, _ = process.communicate()
        assert process.returncode == 0, f"{self.name}: {' '.join(command)}: {output[-3000:]}"
        return output

    @contextmanager
    def enter_network(self) -> Iterator[None]:
        """Within the context, new sockets and new threads of the calling thread are in the machine's network."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as own, open(f"/proc/{self.namespaces.first_pid}/ns/net") as other:
            assert libc.setns(other.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(own.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def list_processes(self) -> list[psutil.Process]:
        """All processes on the machine but the first one."""
        return [
            process
            for process in psutil.process_iter()
            if process.pid != self.namespaces.first_pid and _read_pid_namespace(process.pid) == self._pid_namespace
        ]

    def cut_power(self) -> None:
        """Pull the cable, so that no connection says goodbye, and kill everything; idempotent."""
        self.pull_cable()
        self.end()

    def end(self) -> None:
        """Kill everything; idempotent."""
        self.namespaces.end()
        while self._programs:
            self._programs.pop().wait(_END_TIMEOUT_SECONDS)

    def pull_cable(self) -> None:
        """Take the machine off the network; its own programs go on."""
        if self.namespaces.is_alive():
            self._bridge.configure_network(f"ip link set {self.port} down")

    def plug_cable(self) -> None:
        """Connect the machine again."""
        self._bridge.configure_network(f"ip link set {self.port} up")


class Network:
    """Machines that reach each other by name, and nothing else.

    Attributes:
        folder: an empty folder that all machines see; what lies in ``shared`` is the same for all, what lies in
            ``own`` is the machine's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own, self.shared = folder / "own", folder / "shared"
        self._hosts = folder / "hosts"
        self._names: dict[str, tuple[str, ...]] = {}
        self._machines: list[Machine] = []
        for path in (self.own, self.shared):
            path.mkdir()
        self._write_hosts()
        self._bridge = Namespaces(["--net"], 'trap "" CHLD; echo up; exec sleep infinity')
        self._bridge.configure_network("ip link add bridge type bridge")
        self._bridge.configure_network("ip link set bridge up")

    def add_machine(self, name: str, *aliases: str) -> Machine:
        """Switch on a machine with a new address. Several may share an alias, which then has several addresses."""
        number = len(self._machines) + 1
        port, address = f"port{number}", f"{SUBNET}.{number}"
        self._names[address] = (name, *aliases)
        self._write_hosts()
        namespaces = Namespaces(
            _NAMESPACES,
            f"hostname {name}\n{_FIRST_PROCESS}",
            [str(self._hosts), str(self.own)],
        )
        machine = Machine(name, address, port, namespaces, self._bridge)
        self._machines.append(machine)
        peer = f"peer name eth0 netns {namespaces.first_pid}"
        self._bridge.configure_network(f"ip link add {port} type veth {peer}")
        self._bridge.configure_network(f"ip link set {port} master bridge up")
        for command in ("link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up"):
            namespaces.configure_network(f"ip {command}")
        return machine

    def forget(self, machine: Machine) -> None:
        """Drop the names of a machine that was lost, as whoever replaces it would."""
        del self._names[machine.address]
        self._write_hosts()

    def _write_hosts(self) -> None:
        """Write the same file anew, because the machines have mounted it."""
        lines = [f"{address} {' '.join(names)}\n" for address, names in self._names.items()]
        self._hosts.write_text("127.0.0.1 localhost\n" + "".join(lines))

    def silence(self, one: Machine, other: Machine) -> None:
        """Lose every packet between two machines; both still reach the others."""
        self._bridge.configure_network("nft -f -", _SILENCE.format(one=one.address, other=other.address))

    def mend(self) -> None:
        """Lose no packet any more."""
        self._bridge.configure_network("nft delete table bridge silence")

    def end(self) -> None:
        """Switch everything off."""
        for machine in self._machines:
            machine.end()
        self._bridge.end()


@contextmanager
def open_network(parent: Path) -> Iterator[Network]:
    """A network with a folder in ``parent``, until the context ends."""
    parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="machines-", dir=parent) as folder:
        network = Network(Path(folder))
        try:
            yield network
        finally:
            network.end()


def _read_pid_namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:  # it has ended, or belongs to the kernel
        return None
