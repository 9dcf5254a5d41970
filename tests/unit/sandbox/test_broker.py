"""What the broker carries, since every run is forked from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from halo_forge.sandbox import broker

_LIST = """
import os, sys
hooks = []
os.register_at_fork = lambda **hook: hooks.append(hook)
sys.argv = [sys.argv[1], "none"]
source = open(sys.argv[0]).read().replace("import_module(_ROLES[sys.argv[1]]).main(sys.argv[2:])",
    "import_module(_ROLES['broker'])")
exec(compile(source, sys.argv[0], "exec"), {"__name__": "__main__", "__file__": sys.argv[0]})
print(len(hooks), *sys.modules)
"""


def test_nothing_is_done_at_a_fork() -> None:
    """No module that the broker imports has hooks for forks: each would make every run dearer."""
    boot = Path(broker.__file__).with_name("boot.py")
    command = [sys.executable, "-P", "-s", "-S", "-c", _LIST, str(boot)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "halo_forge.sandbox.broker" in said
    assert said[0] == "0"
    assert not {"random", "threading", "tempfile", "zipfile", "logging"} & set(said)
