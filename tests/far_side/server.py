"""A real OpenSSH server on loopback, with keys and a configuration of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.needs import lacking

__all__ = ["Server", "make_prefix"]

SSHD = Path("/usr/sbin/sshd")
WINE = ("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows", "/usr/lib64/wine/x86_64-windows")
CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {place}/host
AuthorizedKeysFile {place}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
LogLevel VERBOSE
"""


def make_prefix(place: Path) -> dict[str, str]:
    """Make a prefix for Wine, of links since copies take seconds, and return its environment."""
    system = place / "drive_c/windows/system32"
    system.mkdir(parents=True)
    libraries = next((Path(one) for one in WINE if Path(one).is_dir()), None)
    if libraries is None:
        lacking("wine has no 64-bit libraries")
    for library in libraries.iterdir():
        (system / library.name).symlink_to(library)
    drives = place / "dosdevices"
    drives.mkdir()
    (drives / "c:").symlink_to("../drive_c")
    (drives / "z:").symlink_to("/")
    (place / ".update-timestamp").write_text("disable\n")
    unwanted = "mscoree=;mshtml=;winemenubuilder.exe=;winedbg.exe="
    quiet = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": unwanted}
    return {**os.environ, "WINEPREFIX": str(place), **quiet}


class Server:
    """The far side of a test: server, account, folders and a stand-in for the compiler.

    Args:
        place: An empty directory for all of it.
    """

    def __init__(self, place: Path) -> None:
        for tool in (SSHD, "ssh-keygen", "x86_64-w64-mingw32-g++", "wine"):
            if shutil.which(tool) is None:
                lacking(f"{tool} is not installed")
        self.place = place
        self.log = place / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for name in ("host", "user", "stranger"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)],
                check=True,
            )
        self.hosts = place / "known_hosts"
        self.hosts.write_text(f"[127.0.0.1]:{self.port} {(place / 'host.pub').read_text()}")
        (place / "config").write_text(CONFIG.format(port=self.port, place=place))
        self._install()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def _install(self) -> None:
        """Put the stand-in and a prefix for Wine where the far side finds them."""
        tools = self.place / "bin"
        tools.mkdir()
        for name in ("cl.py", "launcher.py"):
            shutil.copy(Path(__file__).with_name(name), tools)
        (tools / "cl").write_text(f'#!/bin/sh\nexec {sys.executable} -IS {tools}/cl.py "$@"\n')
        for tool in tools.iterdir():
            tool.chmod(0o755)
        make_prefix(self.place / "prefix")

    def start(self) -> None:
        """Start the server and wait until it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it insists
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(SSHD), "-D", "-e", "-f", str(self.place / "config")], stderr=log
            )
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError(self.log.read_text())

    def kill(self) -> None:
        """End the server and every connection, as a machine that is switched off would."""
        if self.process is None:
            return
        process = psutil.Process(self.process.pid)
        everyone = [*process.children(recursive=True), process]
        for one in everyone:
            one.kill()
        self.process.wait()
        psutil.wait_procs(everyone)
        self.process = None

    def close(self) -> None:
        """End everything."""
        self.kill()
        environment = {**os.environ, "WINEPREFIX": str(self.place / "prefix")}
        subprocess.run(["wineserver", "-k"], env=environment, check=False, stderr=-3)

    @property
    def logins(self) -> int:
        """How often somebody logged in."""
        return self.log.read_text().count("Accepted publickey")

    @property
    def options(self) -> dict[str, object]:
        """Arguments of a verifier that works here."""
        return {
            "host": "127.0.0.1",
            "user": getpass.getuser(),
            "ssh_key": str(self.place / "user"),
            "port": self.port,
            "known_hosts": str(self.hosts),
            "input_dir": str(self.place / "in"),
            "output_dir": str(self.place / "out"),
            "shell_command": f"cd {{folder}} && PATH={self.place}/bin:.:$PATH {{command}}",
        }

    def left(self) -> list[str]:
        """Return what lies in the two folders, and what still runs in them."""
        files = [str(path) for name in ("in", "out") for path in (self.place / name).rglob("*")]
        out = str(self.place / "out")
        lines = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
        return files + [line for line in lines if out in line]
