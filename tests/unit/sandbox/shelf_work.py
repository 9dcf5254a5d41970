"""What tests put on the shelf, and how programs attack it; for interpreters without pytest too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from halo_forge.sandbox import Job, Kept, Step
from halo_forge.sandbox.client import BrokerSandbox


def new_kept(key: str = "k", script: str = "cat in in > out") -> Kept:
    """Return something small to be kept under ``key``."""
    build = Step(("sh", "-c", script))
    return Kept(key, {"in": key.encode() * 10}, build, ("out",), ("{kept}/out",))


_HOSTILE = """
test $# = 0 && exit 0
cat $1
{ echo evil > $1; rm -f $1; touch $1x; mv $1 $1y; chmod 777 $1 ${1%/*}; ln -f /box/x $1; } 2>&1
ls /kept 2>/dev/null
true
"""


def use_from_two_workers(sandbox: BrokerSandbox) -> set[bytes]:
    """Have two workers use what is kept, random and so different if made twice, and attack it.

    Returns:
        The different contents that builds found.
    """
    kept = new_kept("shared", "head -c 12 /dev/urandom | od -An -tx1 > out")
    build = Step(("sh", "-c", _HOSTILE, "sh"))
    run = Step(("sh", "-c", "ls /kept; touch /kept/x && echo wrote"))

    def one(_: int) -> bytes:
        result = sandbox.run(Job({}, build, (run, Step(("sleep", "0.05"))), kept=kept))
        assert result.build is not None
        assert result.runs[0].stdout == b""
        return result.build.stdout.partition(b"\n")[0]

    with ThreadPoolExecutor(2) as pool:
        return set(pool.map(one, range(12)))
