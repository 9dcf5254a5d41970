"""Stop the build of an image whose torch is not the one that was meant: check_torch.py LEAST_ROCM.

With an empty LEAST_ROCM any torch will do that was not built for ROCm.
"""

import sys

import torch


def main(least: str) -> str | None:
    """Return what is wrong, if anything is."""
    hip = torch.version.hip
    if not least:
        return None if hip is None else f"torch {torch.__version__} is built for ROCm {hip}"
    if hip is None:
        return f"torch {torch.__version__} is not built for ROCm: is INDEX AMD's wheel index?"
    built, wanted = (tuple(int(part) for part in v.split(".")[:2]) for v in (hip, least))
    return None if built >= wanted else f"torch is built for ROCm {hip}; at least {least} is meant"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
