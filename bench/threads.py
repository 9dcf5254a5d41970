"""What threads that wait awake cost a decoder, beside compilers that want the cores.

    python bench/threads.py [--busy 4] [--samples 16] [--max-new-tokens 24] [--rounds 3]
        [--json FILE]

The built-in model answers two built-in prompts, in a process of its own, once with
OMP_WAIT_POLICY=PASSIVE, as every profile of `hardware.profile` has it, and once with ACTIVE.
Meanwhile so many processes compile an empty program with `<iostream>` again and again, at the nice
level of the verifiers; with --busy 0 none does. Prints the seconds of decoding, processor time, and
the ratio by round.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from measure import Spread, interleave
from results import write_result

from halo_forge.config.sections import GenerationSettings, HardwareSettings, VerifierSettings
from halo_forge.data.prompts import load_prompts
from halo_forge.engines.base import EngineSpec, Request, open_engine

__all__ = ["main"]

_MODEL, _PROMPTS = "builtin:smollm2-135m", 2
_COMPILING = (
    "echo $0 >/proc/self/autogroup; "
    "while :; do printf '#include <iostream>\\nint main(){}' | g++ -O2 -x c++ - -o /dev/null; done"
)


def main() -> None:
    """Let both policies decode in turn, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", type=int, default=4)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--max-new-tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", action="store_true", help="only decode, as this process")
    options = parser.parse_args()
    if options.alone:
        print(*_decode(options.samples, options.max_new_tokens))
        return
    with _compilers(options.busy):
        ways = {p: partial(_told, p, options) for p in ("PASSIVE", "ACTIVE")}
        found = interleave(ways, options.rounds)
    for name, way in found.items():
        seconds, used = (Spread.of(list(one)) for one in zip(*way.results, strict=True))
        print(f"{name:>8}: {seconds:.1f} s of decoding, {used:.1f} s of processor time")
    pairs = zip(found["ACTIVE"].results, found["PASSIVE"].results, strict=True)
    ratio = Spread.of([active[0] / passive[0] for active, passive in pairs])
    print(f"awake over asleep: {ratio:.2f}")
    if options.json:
        beside = f"beside {options.busy} compilers" if options.busy else "alone"
        claim = {"name": f"seconds of decoding, threads awake over asleep, {beside}"}
        claim |= {"value": ratio, "aim": None, "limit": "threads"}
        results = {name: way.results for name, way in found.items()}
        write_result(options.json, [claim], {"seconds and processor time": results})


@contextmanager
def _compilers(count: int) -> Iterator[None]:
    """Keep so many compilers busy, which step back as the sandbox's do, each in its session."""
    niceness = str(VerifierSettings().niceness)
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen(
                ["nice", "-n", niceness, "sh", "-c", _COMPILING, niceness],
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(process.wait)
            stack.callback(os.killpg, process.pid, 9)
        yield


def _told(policy: str, options: argparse.Namespace) -> tuple[float, float]:
    """Return what decoding took in a process with that policy."""
    asked = [sys.executable, __file__, "--alone", "--samples", str(options.samples)]
    asked += ["--max-new-tokens", str(options.max_new_tokens)]
    env = os.environ | {"OMP_WAIT_POLICY": policy}
    done = subprocess.run(asked, env=env, check=True, stdout=subprocess.PIPE, text=True)
    seconds, used = map(float, done.stdout.split())
    return seconds, used


def _decode(samples: int, tokens: int) -> tuple[float, float]:
    generation = GenerationSettings(max_new_tokens=tokens)
    spec = EngineSpec(_MODEL, generation, HardwareSettings(), trust_remote_code=False)
    prompts = load_prompts("builtin:cpp/train")[:_PROMPTS]
    with open_engine(spec) as engine:
        started, used = time.perf_counter(), time.process_time()
        for _ in engine.generate([Request(one, tuple(range(samples))) for one in prompts], 1):
            pass
        return time.perf_counter() - started, time.process_time() - used


if __name__ == "__main__":
    main()
