"""A newcomer's walk in a real terminal: train, read, judge by a verifier of one's own, fail, go on.

The main commands of the README (`make demo`, `make test`) are what `.ci/run` does on a clone; here
a tiny model with scripted answers takes their place, and everything else is typed as a person does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.needs import lacking

_PATIENCE = 300.0
_SLOW = """\
# file: patient.py
import time
from pathlib import Path

from my_verifiers import Sums


class Patient(Sums):
    def verify(self, code):
        if Path("slow").exists():
            time.sleep(0.3)
        return super().verify(code)
"""
_CONFIG = """\
model:
  name: {model}
output_dir: runs/walk
prompts: prompts.jsonl
eval_prompts: heldout.jsonl
raft: {{num_cycles: 1, samples_per_prompt: 8}}
generation: {{engine: scripted, script: answers.jsonl}}
training: {{gradient_accumulation_steps: 1}}
evaluation: {{samples_per_prompt: 2}}
hardware: {{device: cpu, bf16: false}}
verifier: {{type: "patient:Patient", max_workers: 1}}
report_to: []
"""
# what is broken, by what, and what the message names
_BROKEN = (
    ("samples_per_prompt", "samples_per_promt", r"walk.yaml:6: .*did you mean samples_per_prompt"),
    ("num_cycles: 1", "num_cycles: one", r"walk.yaml:6: .*must be a whole number, got 'one'"),
    ("evaluation", "\tevaluation", r"walk.yaml:9: a tab; YAML is indented with spaces"),
    ("prompts: prompts", "prompts: promts", r"promts.jsonl: no such file.*prompts.jsonl"),
    ("patient:Patient", "pytset", r"unknown verifier 'pytset'. Did you mean 'pytest'"),
)


class Terminal:
    """A terminal of its own, in which lines are typed and the screen is read."""

    def __init__(self, folder: Path) -> None:
        self._tmux = ["tmux", "-L", f"walk-{os.getpid()}", "-f", "/dev/null"]
        self._typed = 0
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        shell = ["env", f"PATH={path}", "HF_HUB_OFFLINE=1", "bash", "--noprofile", "--norc", "-i"]
        size = ["-x", "180", "-y", "50"]
        self._do("new-session", "-d", *size, "-c", str(folder), *shell)
        self._do("set-option", "-g", "history-limit", "5000")

    def _do(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], check=True, capture_output=True)
        return done.stdout.decode("utf-8", "replace")

    @property
    def screen(self) -> str:
        """What stands on it since the last line was typed."""
        return self._do("capture-pane", "-p", "-J", "-S", "-")

    def start(self, line: str) -> None:
        """Type a line and do not wait for it."""
        self._typed += 1
        self._do("send-keys", "-R")
        self._do("clear-history")
        self._do("send-keys", "-l", f'{line}; echo "end {self._typed}:$?"')
        self._do("send-keys", "Enter")

    def finish(self, code: int = 0) -> str:
        """Wait until the last line is done, with this exit code, and return what it said."""
        self.until(lambda: re.search(rf"^end {self._typed}:\d", self.screen, re.MULTILINE))
        said = self.screen
        assert re.search(rf"^end {self._typed}:{code}$", said, re.MULTILINE), said
        assert "Traceback" not in said
        return said

    def until(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened."""
        end = time.monotonic() + _PATIENCE
        while not happened():
            assert time.monotonic() < end, f"waited in vain:\n{self.screen}"
            time.sleep(0.1)

    def run(self, line: str, code: int = 0) -> str:
        """Type a line, wait for its end, and return what it said."""
        self.start(line)
        return self.finish(code)

    def press(self, key: str) -> None:
        """Press a key, such as ``C-c``."""
        self._do("send-keys", key)

    def close(self) -> None:
        """End the terminal and what runs in it."""
        self._do("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in the test's folder."""
    if shutil.which("tmux") is None:
        lacking("tmux is not installed")
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


def _furnish(place: Path, model: Path, howto: Path) -> None:
    """Write what a newcomer has by now: the how-to's verifier, prompts, a configuration."""
    tokens = MarkdownIt().parse(howto.read_text("utf-8"))
    module = next(token.content for token in tokens if token.info == "python")
    (place / module.splitlines()[0].removeprefix("# file: ")).write_text(module, "utf-8")
    (place / "patient.py").write_text(_SLOW, "utf-8")
    for name, number in (("prompts", 3), ("heldout", 1)):
        tasks = [{"id": f"{name}{n}", "prompt": f"{name} {n}: a sum"} for n in range(number)]
        (place / f"{name}.jsonl").write_text("".join(f"{json.dumps(t)}\n" for t in tasks), "utf-8")
    texts = [f"{n} + {n} = {2 * n + n % 2}" for n in range(8)]
    script = {"prompt_id": "*", "completions": texts}
    (place / "answers.jsonl").write_text(json.dumps(script) + "\n", "utf-8")
    judged = [{"prompt": "a sum", "completion": text} for text in texts]
    (place / "sums.jsonl").write_text("".join(f"{json.dumps(j)}\n" for j in judged), "utf-8")
    (place / "walk.yaml").write_text(_CONFIG.format(model=model), "utf-8")


@pytest.mark.timeout(900)
def test_the_walk(terminal: Terminal, tiny_model_dir: Path, root: Path, tmp_path: Path) -> None:
    """Every message tells what to do next, and what it says to do works."""
    _furnish(tmp_path, tiny_model_dir, root / "docs/howto/new-verifier.md")

    said = terminal.run("halo-forge verify run sums.jsonl --verifier my_verifiers:Sums", 1)
    assert "4 of 8 failed" in said
    assert "1 + 1 is 2" in said

    whole = (tmp_path / "walk.yaml").read_text("utf-8")
    for good, bad, message in _BROKEN:
        (tmp_path / "walk.yaml").write_text(whole.replace(good, bad), "utf-8")
        said = terminal.run("halo-forge raft train -c walk.yaml", 2)
        assert re.search(message, said), said
        assert not (tmp_path / "runs").exists()
    (tmp_path / "walk.yaml").write_text(whole, "utf-8")

    (tmp_path / "slow").touch()
    terminal.start("halo-forge raft train -c walk.yaml")
    journal = tmp_path / "runs/walk/cycle_1_verified.jsonl"
    terminal.until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2)
    terminal.press("C-c")
    said = terminal.finish(130)
    assert "the same command goes on from there" in said
    judged = journal.read_bytes()
    assert 2 <= judged.count(b"\n") < 24

    (tmp_path / "slow").unlink()
    said = terminal.run("halo-forge raft train -c walk.yaml")
    assert journal.read_bytes().startswith(judged)
    assert "Loading cached samples" in said

    said = terminal.run("halo-forge runs show runs/walk")
    assert "held" in said.lower()
    said = terminal.run("halo-forge runs samples runs/walk --verdict fails --limit 1")
    assert "1 + 1 = 3" in said
    assert "1 + 1 is 2" in said
    said = terminal.run("halo-forge runs report runs/walk -o report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert "1 + 1 is 2" in page
    assert (tmp_path / "runs/walk/cycle_1_final/README.md").is_file()
