"""`sft train` through the real command line: killed, and by two processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from halo_forge.cli import main
from halo_forge.store.run_dir import RunDir
from halo_forge.store.waypoints import Waypoints

pytestmark = pytest.mark.timeout(600)

_PATIENCE = 300.0


@pytest.fixture
def flags(tiny_model_dir, tmp_path) -> list[str]:
    """A run of forty short steps on the tiny model, with dropout."""
    file = tmp_path / "train.jsonl"
    words = ("sum", "list", "tree", "prime", "word", "date", "graph", "matrix", "queue", "stack")
    rows = [
        {"prompt": f"{a} {b * 3} {a}", "completion": f"print('{b}')\n" * (1 + len(a) % 4)}
        for a in words
        for b in words[:4]
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    given = {
        "model.name": tiny_model_dir,
        "data.train_file": file,
        "data.validation_split": 0.1,
        "training.epochs": 4,
        "training.gradient_accumulation_steps": 1,
        "training.batch_size": 4,
        "training.learning_rate": "1e-2",
        "training.save_steps": 2,
        "lora.dropout": 0.1,
        "hardware.device": "cpu",
        "hardware.bf16": "false",
        "hardware.gradient_checkpointing": "off",
        "report_to": "[]",
    }
    return [word for pair in given.items() for word in ("--set", "{}={}".format(*pair))]


def command(*words: object) -> list[str]:
    """The command line of a process of its own."""
    return [sys.executable, "-m", "halo_forge", "sft", "train", *map(str, words)]


def finished(run: Path, *words: str) -> dict:
    """Run to the end in this process; the figures."""
    assert main(["sft", "train", "-o", str(run), "-q", "--json", *words]) == 0
    return RunDir(run).read_sft_result()


def test_killed_and_told_again(flags, tmp_path, capsys):
    """After SIGKILL the same command ends with the loss and the adapter of an undisturbed run."""
    killed_and_told_again(flags, tmp_path, at=12)
    capsys.readouterr()


def test_the_built_in_model_is_killed_too(flags, tmp_path, capsys):
    """The same with weights that know something, in a few steps of one pass."""
    few = [*flags, "--set", "data.max_samples=12", "--set", "training.save_steps=1"]
    few[few.index("training.epochs=4")] = "training.epochs=1"
    name = next(word for word in few if word.startswith("model.name="))
    few[few.index(name)] = "model.name=builtin:smollm2-135m"
    killed_and_told_again(few, tmp_path, at=1)
    capsys.readouterr()


def killed_and_told_again(flags: list[str], tmp_path: Path, at: int) -> None:
    """Kill a run once it has kept the state after step ``at``, and compare what comes of it."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = finished(whole, *flags)
    process = subprocess.Popen(
        command("-o", broken, "-q", *flags), stdout=subprocess.DEVNULL, env=os.environ
    )
    states, end = Waypoints(RunDir(broken).waypoints_path), time.monotonic() + _PATIENCE
    while not any(step >= at for step in states.steps()):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert not RunDir(broken).final_model_path.exists()
    reached = states.steps()[-1]
    assert at <= reached < expected["steps"]

    found = finished(broken, *flags, "--resume")
    assert len(RunDir(broken).read_info()["attempts"]) == 2
    assert found["losses"] == expected["losses"]
    assert found["eval_losses"] == expected["eval_losses"]
    one, two = (load_file(RunDir(r).final_model_path / "adapter_model.safetensors")
                for r in (whole, broken))  # fmt: skip
    assert all((one[name] == two[name]).all() for name in one)


def test_two_processes(flags, tmp_path, capsys):
    """Two processes with half a batch each take the steps that one takes with whole batches.

    They are started as torchrun and `accelerate launch` start them, and talk by gloo.
    """
    plain = [*flags, "--set", "training.packing=off"]
    plain[plain.index("lora.dropout=0.1")] = "lora.dropout=0"
    alone = finished(tmp_path / "alone", *plain)
    halves = [*plain, "-o", tmp_path / "both", "--progress", "none"]
    halves[halves.index("training.batch_size=4")] = "training.batch_size=2"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            command(*halves, "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=_PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    figures = json.loads(said[0][0])
    assert said[1] == ("", "")
    assert figures["losses"] == pytest.approx(alone["losses"], abs=1e-4)
    scores = [entry["loss"] for entry in figures["eval_losses"]]
    assert scores == pytest.approx([e["loss"] for e in alone["eval_losses"]], abs=1e-3)
    assert (tmp_path / "both" / "final_model" / "adapter_config.json").exists()
    assert RunDir(tmp_path / "both").read_info()["guarded"]["processes"] == 2
    capsys.readouterr()
