"""Every command line of these pages runs: as it stands where that takes seconds, else dry."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt

from halo_forge.cli import main
from halo_forge.core.types import Message, Prompt, Reference, Sample, Verdict, VerifyResult
from tests.run_directory import make_run
from tools.docs_rules import leaves

DOCS = Path(__file__).parents[2] / "docs"
HOWTOS = (
    *("algorithms", "benchmarks", "clean-data", "controls", "generate-data", "look-into-a-run"),
    *("new-task", "plan", "servers", "set-up", "sft", "share"),
)
PAGES = sorted(
    [
        *(DOCS / f"{name}.md" for name in ("QUICKSTART", "FULL_PIPELINE", "TROUBLESHOOTING")),
        *DOCS.glob("experimental/*.md"),
        *(DOCS / f"howto/{name}.md" for name in HOWTOS),
    ]
)
NOT_OURS = (
    *("printf ", "make demo", "source .venv/bin/activate", "accelerate launch ", "eval "),
    "_HALO_FORGE_COMPLETE",
)
"""What a shell block may hold beside our commands."""
ELSEWHERE = {
    "halo-forge doctor": "tests/unit/commands/test_doctor.py",
    "halo-forge model push": "tests/unit/models/test_publish.py",
    "halo-forge plan": "tests/unit/commands/test_plan.py",
    "halo-forge test": "tests/unit/test_selftest.py",
}
"""Commands that measure the machine or want a hub, and where they are run."""
COMMANDS = dict(leaves())
RUNS = (
    *(f"models/{name}" for name in ("raft", "raft_cpu", "raft-no-curriculum", "lr_a", "lr_b")),
    *(f"models/{name}" for name in ("raftpp", "rej", "unverified")),
    *(f"results/{name}" for name in ("base", "cycle_3", "sft", "raft")),
)
_MBPP = str(DOCS.parent / "examples/full_pipeline/mbpp")
INSTEAD = {
    "halo-forge data prepare": ["--source", _MBPP],
    "halo-forge data prompts": ["--source", _MBPP],
    "halo-forge sft train": ["--model", "tiny"],
}
"""What takes the place of the hub and of the built-in model."""


def _lines(page: Path) -> Iterator[str]:
    for token in MarkdownIt().parse(page.read_text("utf-8")):
        if token.type == "fence" and token.info == "sh":
            yield from token.content.replace("\\\n", " ").splitlines()


def _words(line: str) -> tuple[str, list[str]]:
    """Return the full name of a command and its arguments, dry where that is known to it."""
    words = shlex.split(line.partition(" | ")[0])
    name = next(n for n in (" ".join(words[:3]), " ".join(words[:2])) if n in COMMANDS)
    known = {option for one in COMMANDS[name].params for option in one.opts}
    dry = ["--dry-run"] if "--dry-run" in known and "--dry-run" not in words else []
    return name, [*words[1:], *INSTEAD.get(name, ()), *dry]


def _verdicts(success: bool) -> list[Verdict]:
    prompt = Prompt("sum", (Message("user", "Print 3."),), Reference(expected_output="3"), "cpp")
    result = VerifyResult(
        success, float(success), metadata={"stage": "run", "verifier": "x", "hidden_total": 0}
    )
    return [Verdict(Sample(prompt, number, "int main() {}"), result) for number in range(4)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, root, tiny_model_dir) -> Path:
    """A folder as a reader of the pages has it by and by: data, runs, results."""
    place = tmp_path_factory.mktemp("workplace")
    (place / "configs").symlink_to(root / "configs")
    (place / "docs").symlink_to(root / "docs")
    (place / "examples").symlink_to(root / "examples")
    (place / "tiny").symlink_to(tiny_model_dir)
    new_task = MarkdownIt().parse((DOCS / "howto/new-task.md").read_text("utf-8"))
    (tasks,) = [token.content for token in new_task if token.info == "json"]
    (place / "tasks.jsonl").write_text(tasks, encoding="utf-8")
    code = "#include <iostream>\nint main() { std::cout << 42; }\n"
    (place / "sum.cpp").write_text(code, encoding="utf-8")
    for what, file, split in (
        ("prepare", "train", "train"),
        ("prompts", "prompts", "train"),
        ("prompts", "heldout", "validation"),
    ):
        flags = ["--dataset", "mbpp", "--source", _MBPP, "--split", split, "--progress", "none"]
        assert main(["data", what, *flags, "-o", str(place / f"data/{file}.jsonl")]) == 0
    generated = place / "data/generated/cpp_algorithms"
    generated.mkdir(parents=True)
    shutil.copy(place / "data/prompts.jsonl", generated)
    for name in ("HumanEvalPlus", "MbppPlus"):
        packed = gzip.compress((place / "data/heldout.jsonl").read_bytes())
        (place / f"{name}.jsonl.gz").write_bytes(packed)
    training = {cycle: _verdicts(success=False) for cycle in (1, 2, 3)}
    heldout = {cycle: _verdicts(success=cycle > 0) for cycle in range(4)}
    for name in RUNS:
        (place / name).parent.mkdir(exist_ok=True)
        run = make_run(place / name, training, heldout)
        info = json.loads((run / "run.json").read_text("utf-8"))
        info["guarded"] |= {"eval_prompts.content": "x", "verifier.fingerprint": "y"}
        (run / "run.json").write_text(json.dumps(info), encoding="utf-8")
    return place


@pytest.mark.toolchain("g++")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_command_lines(page: Path, workplace: Path, monkeypatch, capsys) -> None:
    """Each is done, or told apart by name as no command of ours or as run elsewhere."""
    monkeypatch.chdir(workplace)
    for line in filter(None, (line.partition(" #")[0].strip() for line in _lines(page))):
        if line.startswith(NOT_OURS):
            continue
        told, _, file = line.partition(" > ")
        name, words = _words(told)
        if name in ELSEWHERE:
            assert (DOCS.parent / ELSEWHERE[name]).is_file()
            continue
        code = main(words)
        said = capsys.readouterr()
        assert code == 0, f"{page.name}: {line}\n{said.err}"
        if file:
            Path(file).write_text(said.out, "utf-8")


def test_messages_are_those_of_the_code() -> None:
    """What TROUBLESHOOTING quotes as a message stands in the code, word for word."""
    texts = [path.read_text("utf-8") for path in DOCS.parent.glob("halo_forge/**/*.py")]
    # strings that go on in the next line are one text
    code = "\n".join(re.sub(r'"\s*\n\s*f?"', "", text) for text in texts)
    page = (DOCS / "TROUBLESHOOTING.md").read_text("utf-8")
    tables = re.findall(r"^\| It says .*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    said = [
        quoted
        for table in tables
        for row in table.splitlines()
        for quoted in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    assert len(said) >= 15
    assert [text for text in said if text not in code] == []


def test_click_knows_what_is_dry() -> None:
    """The long commands have --dry-run, so that pages cannot fall back to running them."""
    for name in ("halo-forge raft train", "halo-forge sft train", "halo-forge benchmark eval"):
        assert isinstance(COMMANDS[name], click.Command)
        assert _words(name)[1][-1] == "--dry-run"
