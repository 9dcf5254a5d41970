"""`halo-forge data generate` as it is: real verifiers, a server that answers well and badly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halo_forge.cli import main
from halo_forge.data.prompts import load_prompts
from tests.generated_items import good, toothless, wrong
from tests.llama_server import start_llama
from tests.misbehaving import MODEL, Handler, Misbehaving, completion, misbehaving, refusal

SECRET = "sk-very-secret-123"
LANGUAGES = {
    "cpp_algorithms": "g++",
    "go_concurrency": "go",
    "python_testing": "python3",
    "rust_async": "rustc",
}


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    """A server on loopback."""
    with misbehaving() as made:
        yield made


def said(item: Any, reason: str = "stop", tokens: int = 400) -> bytes:
    """What a server sends when the model answers with ``item``, or with a text."""
    return completion(item if isinstance(item, str) else json.dumps(item), reason, tokens)


def command(server: Misbehaving, topic: str, output: Path, *flags: str) -> list[str]:
    """The command line; one request at a time, so that the script is followed in order."""
    return [
        *("data", "generate", "--topic", topic, "--base-url", server.url, "--model", MODEL),
        *("--output", str(output), "--quiet", "--concurrency", "1"),
        *("--set", "generation.server.retries=1", *flags),
        *(() if "checks.repeats" in " ".join(flags) else ("--set", "checks.repeats=1")),
    ]


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    "topic",
    [pytest.param(name, marks=pytest.mark.toolchain(tool)) for name, tool in LANGUAGES.items()],
)
def test_every_topic_gives_verified_data(
    server: Misbehaving, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A right item is written twice, as a chat and as a prompt; a wrong and a toothless are not."""
    server.script = [said(one(topic)) for one in (wrong, good, toothless)]
    assert main(command(server, topic, tmp_path, "--max-requests", "3", "--json")) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["answered"], summary["verified"]) == (3, 1)
    assert summary["out_of_budget"]
    folder = tmp_path / topic
    (example,) = rows(folder / "training.jsonl")
    assert [turn["role"] for turn in example["messages"]] == ["user", "assistant"]
    assert good(topic)["solution"].strip() in example["messages"][1]["content"]
    assert example["metadata"]["integrity"] == "strong"
    (prompt,) = load_prompts(folder / "prompts.jsonl")
    assert prompt.reference.solution == good(topic)["solution"]
    assert good(topic)["solution"].strip() not in prompt.text
    reasons = {reject["reason"] for reject in rows(folder / "rejects.jsonl")}
    assert reasons == {"solution-fails", "passes-trivial"}
    assert main(["data", "validate", str(folder / "prompts.jsonl"), "--quiet"]) == 0


TOPIC = """\
name: sums
language: python
tests: cases
task: A small program.
closing: Answer with one Python program that reads standard input.
min_tests: 2
categories: {adding: adding numbers}
difficulties: {1: easy}
count: %d
"""
_PROGRAM = "n = int(input())\nprint(n * (n + 1) // 2)\n"


def small(number: int, **changes: Any) -> dict[str, Any]:
    """An item that is judged at once, unlike others of another number."""
    words = f"gate{number} lamp{number} river{number} stone{number} paper{number}"
    tests = [{"input": "2", "expected": "3"}, {"input": "4", "expected": "10"}]
    statement = f"{words}: print the sum of 1..n."
    return {"statement": statement, "solution": _PROGRAM, "tests": tests, **changes}


@pytest.fixture
def topic(tmp_path: Path) -> str:
    """A topic of a user's own, eight requests."""
    path = tmp_path / "sums.yaml"
    path.write_text(TOPIC % 8)
    return str(path)


def test_a_server_that_misbehaves_in_every_way(
    server: Misbehaving, topic: str, tmp_path: Path
) -> None:
    """What passes is asked again, what is no item is a reject, and the good ones are written."""
    whole = json.dumps(small(2))
    server.script = [
        (429, refusal("slow down")),
        said(small(1)),
        (500, refusal("oops")),
        said(f"Here you are:\n\n```json\n{whole}\n```\nHave fun!"),
        completion(whole)[:60],  # the body breaks off: the server's failing
        said(f"<think>{{let me see}}</think>\n{json.dumps(small(3))}"),
        said(whole[: len(whole) // 2], "length"),  # the model was cut
        said(whole[: len(whole) // 2]),  # the model ended in the middle
        said(""),
        said("I cannot do that."),
        said(small(6, tests=[{"input": "2", "expected": "3"}])),
    ]
    assert main(command(server, topic, tmp_path)) == 0
    folder = tmp_path / "sums"
    statements = [row["messages"][0]["content"] for row in rows(folder / "training.jsonl")]
    assert [text.split()[0] for text in statements] == ["gate1", "gate2", "gate3"]
    assert [reject["reason"] for reject in rows(folder / "rejects.jsonl")] == [
        "cut", "not-json", "empty", "not-json", "incomplete",
    ]  # fmt: skip
    assert len(server.asked) == 8 + 3  # three were tried again


def test_retry_after_is_obeyed(server: Misbehaving, topic: str, tmp_path: Path) -> None:
    """The server says when it wants to be asked again."""
    server.script = [
        lambda handler: handler.reply(429, refusal("busy"), Retry_After="1"),
        said(small(1)),
    ]
    assert main(command(server, topic, tmp_path, "--max-requests", "1")) == 0
    assert server.times[1] - server.times[0] >= 0.9


def test_a_timeout_is_a_fault_and_loses_nothing(
    server: Misbehaving, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was answered is judged and written; the same command asks for the rest only."""
    release = threading.Event()
    server.script = [said(small(1)), *[lambda handler: release.wait(30)] * 2]
    flags = ("--set", "generation.server.timeout=0.5")
    assert main(command(server, topic, tmp_path, "--count", "3", *flags)) == 3
    assert "no answer within 0.5 s, tried 2 times" in capsys.readouterr().err
    assert len(rows(tmp_path / "sums" / "training.jsonl")) == 1
    release.set()
    server.script = [said(small(number)) for number in (2, 3)]
    asked = len(server.asked)
    for _ in range(2):
        assert main(command(server, topic, tmp_path, "--count", "3")) == 0
        assert len(server.asked) - asked == 2
        assert len(rows(tmp_path / "sums" / "training.jsonl")) == 3


def test_kill_and_go_on(server: Misbehaving, topic: str, tmp_path: Path) -> None:
    """After SIGKILL nothing is asked again whose answer is on disk, and the end is the same."""
    reached = threading.Event()

    def stuck(handler: Handler) -> None:
        reached.set()
        time.sleep(30)

    server.script = [said(small(1)), said(small(2)), stuck]
    arguments = command(server, topic, tmp_path, "--count", "4")
    process = subprocess.Popen([sys.executable, "-m", "halo_forge", *arguments])
    assert reached.wait(60)
    journal = tmp_path / "sums" / "answers.jsonl"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    known = {row["id"] for row in rows(journal)}
    assert len(known) == 2
    with journal.open("ab") as file:
        file.write(b'{"id": "torn')  # as a kill within a write leaves it
    before = [one["messages"] for one in server.asked[:2]]
    server.asked.clear()
    server.script = [said(small(number)) for number in (3, 4)]
    assert main(arguments) == 0
    assert len(server.asked) == 2
    assert not [one for one in server.asked if one["messages"] in before]
    undisturbed = tmp_path / "undisturbed"
    server.script = [said(small(number)) for number in (1, 2, 3, 4)]
    assert main(command(server, topic, undisturbed, "--count", "4")) == 0
    for name in ("training.jsonl", "prompts.jsonl", "rejects.jsonl"):
        assert (tmp_path / "sums" / name).read_bytes() == (undisturbed / "sums" / name).read_bytes()


def test_ctrl_c(server: Misbehaving, topic: str, tmp_path: Path) -> None:
    """It ends at once and drops what is under way; what was answered is on disk."""
    reached = threading.Event()
    release = threading.Event()

    def stuck(handler: Handler) -> None:
        reached.set()
        release.wait(60)

    server.script = [said(small(1)), stuck]
    process = subprocess.Popen(
        [sys.executable, "-m", "halo_forge", *command(server, topic, tmp_path)]
    )
    assert reached.wait(60)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=45) == 130  # the server would have taken 60
    release.set()
    assert len(rows(tmp_path / "sums" / "answers.jsonl")) == 1


def test_a_key_is_nowhere_but_in_the_request(
    server: Misbehaving, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Not in output, logs, files or errors, even when the server repeats it wherever it can."""
    monkeypatch.setenv("THE_KEY", SECRET)
    caplog.set_level("DEBUG")
    server.script = [
        said(small(1, statement=f"Your key is {SECRET}. Print the sum of 1..n.")),
        said(f"no JSON but {SECRET}"),
        (401, refusal(f"Incorrect API key provided: {SECRET}")),
    ]
    assert main(command(server, topic, tmp_path, "--api-key-env", "THE_KEY", "--verbose")) == 2
    assert {one.get("authorization") for one in server.headers} == {f"Bearer {SECRET}"}
    out, err = capsys.readouterr()
    assert "refuses (401) the key in THE_KEY" in err
    for text in (out, err, caplog.text):
        assert SECRET not in text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(rows(tmp_path / "sums" / "training.jsonl")) == 1
    assert len(files) >= 6
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_a_backends_key_goes_to_its_own_address(
    server: Misbehaving, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A service's key is not sent to another address unless it is named for it."""
    monkeypatch.setenv("DEEPSEEK_API_KEY", SECRET)
    arguments = command(server, topic, tmp_path, "--backend", "deepseek", "--max-requests", "1")
    assert main(arguments) == 2
    assert "DEEPSEEK_API_KEY would go to" in capsys.readouterr().err
    assert server.headers == []
    server.script = [said(small(1))]
    assert main([*arguments, "--api-key-env", "DEEPSEEK_API_KEY"]) == 0
    (asked,) = server.asked
    assert asked["response_format"] == {"type": "json_object"}
    assert "seed" not in asked


def test_budgets(server: Misbehaving, topic: str, tmp_path: Path) -> None:
    """A budget is for the folder: the same command spends no more, a larger one goes on."""
    server.script = [said(small(number)) for number in range(1, 9)]
    for _ in range(2):
        assert main(command(server, topic, tmp_path, "--max-requests", "2")) == 0
    assert len(server.asked) == 2
    # Prompts of unknown length count with their bytes, answers with the longest allowed.
    flags = ("--max-tokens", "12000", "--max-new-tokens", "3000")
    assert main(command(server, topic, tmp_path, *flags)) == 0
    journal = rows(tmp_path / "sums" / "answers.jsonl")
    total = sum(row["most_tokens"][0] + row["completion_tokens"] for row in journal)
    assert total <= 12000 < total + journal[-1]["most_tokens"][0] + 3000
    assert 2 < len(server.asked) < 8


def test_nothing_stands(
    server: Misbehaving, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No data is a check that failed, so that no script trains on an empty file."""
    server.script = [said("no")] * 8
    assert main(command(server, topic, tmp_path)) == 1
    assert "none of 8 answers stood the checks" in capsys.readouterr().err
    assert main(command(server, topic, tmp_path / "none", "--max-requests", "0")) == 1
    assert "the budget lets no request through" in capsys.readouterr().err


def test_duplicates(server: Misbehaving, topic: str, tmp_path: Path) -> None:
    """A statement that was there before, or nearly, is a reject that names the other."""
    near = small(1)["statement"].replace("lamp1", "Lamp1").replace("sum", "sum ")
    server.script = [said(small(1)), said(small(1, statement=near)), said(small(2))]
    assert main(command(server, topic, tmp_path, "--max-requests", "3")) == 0
    (reject,) = rows(tmp_path / "sums" / "rejects.jsonl")
    first = rows(tmp_path / "sums" / "training.jsonl")[0]["metadata"]["id"]
    assert (reject["reason"], reject["detail"]) == ("duplicate", f"100% the same as {first}")


def test_a_fault_of_ours_is_no_reject(
    server: Misbehaving, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A sandbox that breaks leaves items owed; the next call judges them and asks nothing."""
    from halo_forge.core.errors import SandboxFault
    from halo_forge.rlvr.verifiers.execution import ExecutionVerifier

    def broken(*_: Any) -> None:
        raise SandboxFault("the sandbox died")

    server.script = [said(small(1)), said("no")]
    flags = ("--max-requests", "2")
    with monkeypatch.context() as patch:
        patch.setattr(ExecutionVerifier, "judge", broken)
        assert main(command(server, topic, tmp_path, *flags)) == 3
    assert "1 items could not be judged, and stay owed" in capsys.readouterr().err
    folder = tmp_path / "sums"
    assert [reject["reason"] for reject in rows(folder / "rejects.jsonl")] == ["not-json"]
    assert main(command(server, topic, tmp_path, *flags)) == 0
    assert len(server.asked) == 2
    assert len(rows(folder / "training.jsonl")) == 1


def test_flaky_solutions(server: Misbehaving, topic: str, tmp_path: Path) -> None:
    """A solution that passes now and then is rejected."""
    flaky = "import os\nn = int(input())\nprint(n * (n + 1) // 2 + (os.urandom(1)[0] < 128))\n"
    server.script = [said(small(1, solution=flaky))]
    assert main(command(server, topic, tmp_path, "--max-requests", "1")) in (0, 1)
    flags = ("--max-requests", "1", "--set", "checks.repeats=12")
    assert main(command(server, topic, tmp_path, *flags)) == 1
    (reject,) = rows(tmp_path / "sums" / "rejects.jsonl")
    assert reject["reason"] in {"flaky", "solution-fails"}
    assert len(server.asked) == 1  # judged anew, not asked anew


def test_a_cut_answer_is_asked_again_with_more_room(
    server: Misbehaving, topic: str, tmp_path: Path
) -> None:
    """Only with a higher limit, and only what was cut."""
    server.script = [said('{"statement": "x', "length"), said(small(2))]
    flags = ("--max-requests", "2", "--max-new-tokens")
    assert main(command(server, topic, tmp_path, *flags, "50")) == 0
    assert main(command(server, topic, tmp_path, *flags, "50")) == 0
    assert len(server.asked) == 2
    server.script = [said(small(1))]
    assert (
        main(command(server, topic, tmp_path, "--max-requests", "3", "--max-new-tokens", "90")) == 0
    )
    assert len(server.asked) == 3
    assert server.asked[0]["messages"] == server.asked[2]["messages"]
    assert len(rows(tmp_path / "sums" / "training.jsonl")) == 2


def test_a_real_server(topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """llama.cpp with the built-in model keeps to the schema; what it says is judged like all."""
    url, process = start_llama()
    try:
        status = main(
            [
                *("data", "generate", "-t", topic, "--base-url", url, "-m", "smollm2", "-q"),
                *("-o", str(tmp_path), "--max-requests", "1", "--max-new-tokens", "80"),
                *("--json", "--temperature", "0"),
            ]
        )
    finally:
        process.kill()
        process.communicate()
    summary = json.loads(capsys.readouterr().out)
    assert status == (0 if summary["verified"] else 1)
    assert (summary["answered"], summary["spent"]["requests"]) == (1, 1)
    assert summary["spent"]["read"] > 200
    assert summary["verified"] + sum(summary["rejects"].values()) == 1
    (row,) = rows(tmp_path / "sums" / "answers.jsonl")
    assert row["text"].lstrip().startswith("{")
    assert 0 < row["completion_tokens"] <= 80


def test_topics(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """They are listed, and one that is printed is a topic of one's own."""
    assert main(["data", "generate", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == sorted(LANGUAGES)
    assert main(["data", "generate", "--show", "rust_async"]) == 0
    copy = tmp_path / "mine.yaml"
    copy.write_text(capsys.readouterr().out)
    flags = ("--dry-run", "--json", "--output", str(tmp_path))
    assert main(["data", "generate", "-t", str(copy), *flags]) == 0
    mine = json.loads(capsys.readouterr().out)["estimate"]
    assert main(["data", "generate", "-t", "rust_async", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["estimate"] == mine
    assert mine["requests"] == 6 * 4 * 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "which topic?"),
        (["-t", "cpp_algoritms"], "Did you mean 'cpp_algorithms'?"),
        (["-t", "nowhere.yaml"], "No such file"),
        (["-t", "cpp_algorithms"], "Give --model NAME and --backend NAME or --base-url URL"),
        (["-t", "cpp_algorithms", "-b", "ollama"], "Give --model NAME."),
        (["--show", "cobol"], "no topic 'cobol'"),
        (["-t", "cpp_algorithms", "-b", "anthropic", "--temperature", "1"], "takes none"),
        (["-t", "cpp_algorithms", "-b", "openai", "-m", "x"], "OPENAI_API_KEY is not set"),
    ],
)
def test_bad_input(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """One message, exit code 2, and nothing is begun."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "generate", *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_dry_run_asks_nobody(
    server: Misbehaving, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts, estimates and prices; with answers on disk it goes by what they took."""
    prices = ("--input-price", "1", "--output-price", "2", "--dry-run", "--json")
    assert main(command(server, topic, tmp_path, *prices)) == 0
    found = json.loads(capsys.readouterr().out)["estimate"]
    assert (found["requests"], found["allowed"], found["measured"]) == (8, 8, False)
    assert found["most_tokens"][1] == 8 * 4096
    assert 0 < found["likely_cost"] < found["most_cost"]
    assert server.headers == []
    assert not (tmp_path / "sums").exists()
    server.script = [said(small(1), tokens=100), said(small(2), tokens=300)]
    assert main(command(server, topic, tmp_path, "--max-requests", "2")) == 0
    assert main(command(server, topic, tmp_path, *prices)) == 0
    found = json.loads(capsys.readouterr().out)["estimate"]
    assert (found["answered"], found["allowed"], found["measured"]) == (2, 6, True)
    assert found["likely_tokens"][1] == 6 * 200


def test_two_at_once(server: Misbehaving, topic: str, tmp_path: Path) -> None:
    """Two processes do not work in one folder."""
    from halo_forge.store.generation_dir import GenerationDir

    with GenerationDir.of(str(tmp_path), "sums").lock():
        assert main(command(server, topic, tmp_path)) == 2
    assert server.asked == []
