"""Run a command as a container would: ``python container.py KIND USER COMMAND...``; needs root.

``docker``: no new namespaces, no mounts, and of root's capabilities only those that Docker leaves,
which is what its default seccomp profile comes to. ``podman``: namespaces, but parts of /proc are
hidden, so that in a user namespace no new /proc can be mounted; see mount_too_revealing() in the
kernel's fs/namespace.c.
"""

from __future__ import annotations

import os
import platform
import struct
import sys

from halo_forge.sandbox import kernel, seccomp

__all__: list[str] = []

_REFUSED = (
    *("unshare", "setns", "mount", "umount2", "pivot_root", "open_tree", "move_mount"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
)
_CAPABILITIES = 0xA80425FB  # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP ...


def _docker_filter() -> bytes:
    column = seccomp._COLUMN[platform.machine()]
    number = {name: pair[column] for name, pair in seccomp._ONE_OF_TWO.items()}
    rules = [
        seccomp._for_call(number["clone"], seccomp._if_bits(0, seccomp._NEW_NAMESPACES)),
        seccomp._for_call(number["clone3"], seccomp._refuse(seccomp._ENOSYS)),
        *(seccomp._for_call(seccomp.DENIED[name][column], seccomp._refuse()) for name in _REFUSED),
    ]
    return seccomp._header(platform.machine()) + b"".join(rules) + seccomp._allow()


def _keep_capabilities(wanted: int) -> None:
    for capability in range(41):
        if not wanted >> capability & 1:
            kernel._prctl(kernel._PR_CAPBSET_DROP, capability)
    sets = struct.pack("=6I", wanted, wanted, 0, 0, 0, 0)
    kernel._capset(kernel._CAPABILITY_HEADER, sets)


def _hide_parts_of_proc() -> None:
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.make_private("/")
    kernel.bind("/dev/null", "/proc/timer_list")
    kernel.mount("tmpfs", "/proc/fs", kernel.MOUNT_RDONLY)


if __name__ == "__main__":
    kind, user = sys.argv[1], int(sys.argv[2])
    if kind == "docker":
        kernel.load_seccomp(_docker_filter())
    else:
        _hide_parts_of_proc()
    if user == 0:
        _keep_capabilities(_CAPABILITIES)
    else:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.execvp(sys.argv[3], sys.argv[3:])
