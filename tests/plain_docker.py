"""Run a command as a plain Docker container would: ``python plain_docker.py USER COMMAND...``.

No new namespaces, no mounts, and of root's capabilities only those that Docker leaves: what its
default seccomp profile and set of capabilities amount to. Only root can start it.
"""

from __future__ import annotations

import ctypes
import os
import platform
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
    header = kernel._CapHeader(kernel._CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(wanted, wanted, 0, 0, 0, 0)
    kernel._call("capset", ctypes.byref(header), sets)


if __name__ == "__main__":
    user = int(sys.argv[1])
    kernel.load_seccomp(_docker_filter())
    if user == 0:
        _keep_capabilities(_CAPABILITIES)
    else:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.execvp(sys.argv[2], sys.argv[2:])
