"""Start of every sandbox process: ``python -S boot.py ROLE ...``, with no environment to speak of.

Run as a file, not as a module: the packages above are entered by path only, so that none of
their ``__init__`` (and with them the client, or anything heavier) is executed here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

__all__: list[str] = []

_ROLES = {
    "broker": "halo_forge.sandbox.broker",
    "supervisor": "halo_forge.sandbox.supervisor",
}


def _enter_package(name: str, path: Path) -> None:
    module = ModuleType(name)
    module.__path__ = [str(path)]
    sys.modules[name] = module


if __name__ == "__main__":
    here = Path(__file__).parent
    _enter_package("halo_forge", here.parent)
    for package in ("core", "utils", "sandbox"):
        _enter_package(f"halo_forge.{package}", here.parent / package)
    import_module(_ROLES[sys.argv[1]]).main(sys.argv[2:])
