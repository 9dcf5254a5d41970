"""A folder with a model, out of a GGUF file: to start from where no hub is in reach.

    python bench/gguf_model.py qwen2.5-coder-0.5b-instruct-q4_k_m.gguf models/qwen-coder-0.5b

The weights are the quantized ones as float32, as the built-in model's are. The tokenizer is the one
that the file describes, and `<|endoftext|>` pads unless `--pad-token` names another token.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from halo_forge.models.convert import convert_gguf
from halo_forge.store.atomic import replace_directory


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gguf", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pad-token", default="<|endoftext|>")
    parser.add_argument("--context-length", type=int, default=32768)
    parser.add_argument("--split-digits", action="store_true")
    given = parser.parse_args()
    with replace_directory(given.folder) as folder:
        convert_gguf(
            given.gguf,
            folder,
            context_length=given.context_length,
            pad_token=given.pad_token,
            split_digits=given.split_digits,
        )


if __name__ == "__main__":
    main()
