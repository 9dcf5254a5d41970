"""Serves a GGUF file by llama.cpp on loopback: `llama_server.py FILE`; prints its address.

Ends when its standard input does, so it never outlives the test that started it.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path


def start_llama() -> tuple[str, "subprocess.Popen[str]"]:
    """Serve the built-in model in a process of its own; return its address and the process."""
    from halo_forge.core.errors import HaloForgeError
    from halo_forge.models.builtin import fetch_gguf
    from tests.needs import lacking

    if importlib.util.find_spec("xllamacpp") is None:
        lacking("xllamacpp is not installed")
    try:
        gguf = fetch_gguf("smollm2-135m")
    except HaloForgeError as error:
        lacking(f"the built-in model cannot be had: {error}")
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), str(gguf)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address, "the server did not start"
    return f"{address}/v1", process


def main() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.model_alias = {"smollm2"}
    params.n_ctx = 4096
    params.n_parallel = 2
    params.cpuparams.n_threads = 1  # waiting threads spin, and starve a busy machine
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main()
