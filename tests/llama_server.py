"""Serves a GGUF file by llama.cpp on loopback: `llama_server.py FILE`; prints its address.

Ends when its standard input does, so it never outlives the test that started it.
"""

import sys

import xllamacpp


def main() -> None:
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
