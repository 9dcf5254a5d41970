"""What bad input and a bad day get: one message, the right exit code, and nothing half-written."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from halo_forge.cli import main

GOOD = (
    "#include <iostream>\nint main() {\n  int a, b;\n  std::cin >> a >> b;\n"
    "  std::cout << a + b << std::endl;\n}\n"
)
PROMPT = {
    "id": "add",
    "prompt": "Add two numbers.",
    "language": "cpp",
    "tests": [{"input": "1 2\n", "expected": "3\n"}],
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a prompts file, a script of answers, and a command's settings."""
    (tmp_path / "prompts.jsonl").write_text(json.dumps(PROMPT) + "\n", encoding="utf-8")
    _script(tmp_path, f"```cpp\n{GOOD}```")
    return tmp_path


def _script(place: Path, *answers: str) -> None:
    line = {"prompt_id": "*", "completions": answers}
    (place / "script.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")


def _command(place: Path, model: Path | str, *more: str) -> list[str]:
    """A run that takes seconds: scripted answers, a tiny model, one cycle."""
    settings = {
        "model.name": model,
        "prompts": place / "prompts.jsonl",
        "output_dir": place / "run",
        "raft.num_cycles": 1,
        "raft.samples_per_prompt": 2,
        "generation.engine": "scripted",
        "generation.script": place / "script.jsonl",
        "training.gradient_accumulation_steps": 1,
        "hardware.device": "cpu",
        "hardware.bf16": "false",
        "report_to": "[]",
    }
    flags = [word for pair in settings.items() for word in ("--set", "{}={}".format(*pair))]
    return ["raft", "train", *flags, "--progress", "none", *more]


def _files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _refused(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> str:
    """Run a command that must fail, and return its one message."""
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert "our fault" not in err
    assert 1 <= len(err.splitlines()) <= 8
    assert all(line.startswith("halo-forge: ") for line in err.splitlines())
    return err


CONFIG = """\
raft:
  num_cycels: 3
  samples_per_prompt: many
generation:
  temperature: -1
  max_new_tokens: 0
"""


def test_every_problem_of_a_config_at_once(place, capsys) -> None:
    """A wrong key, a wrong type and two values out of range, each with file and line."""
    path = place / "config.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    said = _refused(capsys, ["raft", "train", "-c", str(path), "-o", str(place / "run")], 2)
    lines = said.splitlines()
    assert len(lines) == 4
    for line, number, words in zip(
        sorted(lines),
        (2, 3, 5, 6),
        ("num_cycles", "samples_per_prompt", "temperature", "max_new_tokens"),
        strict=True,
    ):
        assert f"{path}:{number}" in line
        assert words in line
    assert not (place / "run").exists()


WRONG = {
    "config": (["-c", "{place}/gone.yaml"], ["gone.yaml"]),
    "yaml": (["-c", "{place}/broken.yaml"], ["broken.yaml:3: while parsing"]),
    "flag": (["--set", "raft.num_cycles=-1"], ["--set raft.num_cycles"]),
    "prompts": (
        ["--set", "prompts={place}/promts.jsonl"],
        ["promts.jsonl", "no such file", "prompts.jsonl"],
    ),
    "folder": (["--set", "prompts={place}"], ["is a directory", "prompts.jsonl"]),
    "builtin": (["--set", "prompts=builtin:cpp/trian"], ["builtin:cpp/train"]),
    "empty": (["--set", "prompts={place}/empty.jsonl"], ["empty.jsonl", "holds no prompts"]),
    "heldout": (["--eval-prompts", "{place}/prompts.jsonl"], ["also trained on", "'add'"]),
    "verifier": (["--verifier", "gc"], ["unknown verifier 'gc'", "'gcc'", "execution"]),
    "option": (["--set", "verifier.options={flavour: 1}"], ["verifier.options.flavour", "gcc"]),
    "model": (["--set", "model.name={place}/no_model"], ["no_model does not exist"]),
    "builtin model": (["--set", "model.name=builtin:smollm"], ["Did you mean 'smollm2-135m'?"]),
    "checkpoint": (["--checkpoint", "{place}/cycle_9"], ["cycle_9"]),
    "engine": (["--set", "generation.engine=transformer"], ["transformers", "scripted"]),
    "tracker": (["--set", "report_to=[tensorbord]"], ["tensorbord", "tensorboard"]),
    "device": (["--set", "hardware.device=quantum"], ["quantum", "cpu"]),
    "script": (
        ["--set", "generation.script={place}/gone.jsonl"],
        ["gone.jsonl", "cannot be read"],
    ),
    "layers": (
        ["--set", "lora.target_modules=[qkv]"],
        ["lora.target_modules", "called qkv", "q_proj"],
    ),
}


@pytest.mark.toolchain("g++")
@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case, place, capsys, tiny_model_dir) -> None:
    """Input that is wrong is refused before a run directory exists, with what there is instead."""
    (place / "empty.jsonl").write_text("\n", encoding="utf-8")
    (place / "broken.yaml").write_text("raft:\n  num_cycles: [1\n", encoding="utf-8")
    more, words = WRONG[case]
    flags = [word.replace("{place}", str(place)) for word in more]
    said = _refused(capsys, _command(place, tiny_model_dir, *flags), 2)
    assert [word for word in words if word not in said] == []
    assert not (place / "run").exists()


@pytest.mark.toolchain("g++")
def test_malformed_lines(place, capsys, tiny_model_dir) -> None:
    """Every bad line of a prompts file is named with its number and its reason."""
    lines = [json.dumps(PROMPT), '{"prompt": "x"', '{"promt": "y"}', '{"prompt": 7}']
    (place / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    said = _refused(capsys, _command(place, tiny_model_dir), 2)
    for number in (2, 3, 4):
        assert f"prompts.jsonl:{number}: " in said
    assert "prompts.jsonl:1: " not in said
    assert "Did you mean 'prompt'?" in said
    assert not (place / "run").exists()


def test_no_compiler(place, capsys, tiny_model_dir, monkeypatch) -> None:
    """A missing compiler is the machine's trouble, found at once, with how to get one."""
    monkeypatch.setenv("PATH", str(place))
    said = _refused(capsys, _command(place, tiny_model_dir), 3)
    assert "g++" in said
    assert "install" in said.lower()
    assert not (place / "run").exists()


@pytest.mark.toolchain("g++")
def test_a_hub_model_without_a_network(place, capsys, monkeypatch) -> None:
    """A hub id that cannot be had is a fault that names the model and the way out."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(place / "hub"))
    said = _refused(capsys, _command(place, "nobody/no-such-model"), 3)
    assert "nobody/no-such-model" in said
    assert not (place / "run").exists()


@pytest.fixture
def finished(place, tiny_model_dir, capsys) -> Path:
    """A finished run."""
    assert main(_command(place, tiny_model_dir)) == 0
    capsys.readouterr()
    return place / "run"


@pytest.mark.toolchain("g++")
def test_the_directory_of_another_run(finished, place, capsys, tiny_model_dir) -> None:
    """Other settings and other prompts over a run are refused by key; the run stays as it was."""
    before = _files(finished)
    more = ["--temperature", "0.9", "--seed", "5"]
    said = _refused(capsys, _command(place, tiny_model_dir, *more), 2)
    assert "generation.temperature: 0.7 then, 0.9 now" in said
    assert "seed: 0 then, 5 now" in said
    assert "--fork" in said
    changed = PROMPT | {"prompt": "Subtract two numbers."}
    (place / "prompts.jsonl").write_text(json.dumps(changed) + "\n", encoding="utf-8")
    said = _refused(capsys, _command(place, tiny_model_dir), 2)
    assert "prompts.content" in said
    assert _files(finished) == before


@pytest.mark.toolchain("g++")
def test_a_finished_run_again(finished, place, capsys, tiny_model_dir) -> None:
    """The same command over a finished run does nothing and says so by its exit code."""
    kept = ("cycle_1_samples.jsonl", "cycle_1_verified.jsonl", "raft_statistics.json")
    before = {name: (finished / name).read_bytes() for name in kept}
    weights = (finished / "cycle_1_final" / "adapter_model.safetensors").stat().st_mtime_ns
    assert main(_command(place, tiny_model_dir)) == 0
    assert {name: (finished / name).read_bytes() for name in kept} == before
    after = (finished / "cycle_1_final" / "adapter_model.safetensors").stat().st_mtime_ns
    assert after == weights


@pytest.mark.toolchain("g++")
def test_nothing_worth_training_on(place, capsys, tiny_model_dir) -> None:
    """A cycle without good answers is a check that says no; with better answers it goes on."""
    _script(place, "I cannot do that.")
    said = _refused(capsys, _command(place, tiny_model_dir), 1)
    assert "cycle 1: 0 of 2 answers" in said
    assert "Nothing was trained" in said
    names = {path.name for path in (place / "run").iterdir()}
    assert "cycle_1_verified.jsonl" in names
    assert not any("cycle_1_final" in name for name in names)


@pytest.mark.toolchain("g++")
def test_a_full_disk(place, capsys, tiny_model_dir, monkeypatch) -> None:
    """A disk that fills while the checkpoint is flushed costs nothing that was done."""
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if Path(f"/proc/self/fd/{handle}").readlink().suffix == ".safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    said = _refused(capsys, _command(place, tiny_model_dir), 3)
    assert "no space left" in said
    assert "cycle_1_final" in said
    assert len(calls) > 3
    names = {path.name for path in (place / "run").iterdir()}
    assert not any("cycle_1_final" in name for name in names)
    before = (place / "run" / "cycle_1_verified.jsonl").read_bytes()

    monkeypatch.setattr(os, "fsync", real)
    assert main(_command(place, tiny_model_dir)) == 0
    assert (place / "run" / "cycle_1_verified.jsonl").read_bytes() == before
    assert (place / "run" / "cycle_1_final").is_dir()


@pytest.mark.toolchain("g++")
def test_a_file_too_large_for_the_system(place, tiny_model_dir) -> None:
    """The kernel refuses a write in a real process: one message, exit code 3, and it goes on."""
    big = PROMPT | {"metadata": "x"} | {"prompt": "Add two numbers. " * 2000}
    (place / "prompts.jsonl").write_text(json.dumps(big) + "\n", encoding="utf-8")
    arguments = [sys.executable, "-m", "halo_forge", *_command(place, tiny_model_dir)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, 16_384))

    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, timeout=300, preexec_fn=limit
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "our fault" not in done.stderr
    assert str(place / "run") in done.stderr
    assert "File too large" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((place / "run").glob("*.tmp-*"))
