"""`halo-forge verify run`: what people and scripts get for a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from halo_forge.cli import main

SUM = "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }\n"
ADD = "def add(a, b):\n    return a + b\n"

pytestmark = pytest.mark.toolchain("g++")


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["verify", "run", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with programs and tests."""
    (tmp_path / "sum.cpp").write_text(SUM)
    (tmp_path / "broken.cpp").write_text(SUM.replace("a, b;", "a;"))
    (tmp_path / "cases.json").write_text(
        '[{"input": "1 2", "expected": "3"}, {"input": "1 3", "expected": "5"}]'
    )
    (tmp_path / "add.py").write_text(ADD)
    (tmp_path / "test_add.py").write_text("def test_add():\n    assert add(1, 2) == 3\n")
    return tmp_path


def test_a_source_file(sources, capsys) -> None:
    """One file, one verdict: reward, stage, toolchain, sandbox; the exit code says if it passed."""
    code, out, err = _run(capsys, sources / "sum.cpp")
    assert (code, err) == (0, "")
    assert out.startswith("passed, reward 0.7: ")
    for word in ("stage:     run", "toolchain: g++", "sandbox:", "integrity:",
                 "limits:    none hit", "program:   2 lines of C++"):  # fmt: skip
        assert word in out
    code, out, err = _run(capsys, sources / "broken.cpp")
    assert code == 1
    assert out.startswith("failed, reward 0: ")
    assert "error: " in out
    assert "> 2 | int main() { int a; std::cin >> a >> b;" in out
    assert "broken.cpp: 1 of 1 failed" in err


def test_tests_choose_the_verifier(sources, capsys) -> None:
    """Cases are run by `execution`, test code by `pytest`, unless a verifier is named."""
    code, out, _ = _run(capsys, sources / "sum.cpp", "--tests", sources / "cases.json")
    assert code == 1
    assert "failed, reward 0.75: 1/2 tests passed; test 2: expected '5', got '4'" in out
    assert "tests:     1 of 2 passed" in out
    code, out, _ = _run(capsys, sources / "add.py", "--tests", sources / "test_add.py")
    assert code == 0
    assert out.startswith("passed, reward 1: 1/1 tests passed")
    named = ("--verifier", "gcc", "--no-run-after-compile")
    code, out, _ = _run(capsys, sources / "sum.cpp", "--tests", sources / "cases.json", *named)
    assert out.startswith("passed, reward 0.5")


def test_expected_output(sources, capsys) -> None:
    """An expected output makes the last rung reachable."""
    (sources / "one.txt").write_text("print(6 * 7)\n")
    flags = ("--language", "python", "--expected-output")
    assert _run(capsys, sources / "one.txt", *flags, "42")[0] == 0
    assert _run(capsys, sources / "one.txt", *flags, "43")[0] == 1


def test_samples_in_order_and_as_json(sources, capsys) -> None:
    """A samples file gives a line for each sample, in its order; faults are no verdicts."""
    path = sources / "samples.jsonl"
    task = {"id": "sum", "prompt": "Add.", "language": "cpp",
            "tests": [{"input": "1 2", "expected": "3"}]}  # fmt: skip
    lines = [
        {**task, "completion": f"```cpp\n{code}```"}
        for code in (SUM, "int main() { none(); std::cin; }", SUM)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, err = _run(capsys, path, "--json", "--progress", "none")
    records = [json.loads(line) for line in out.splitlines()]
    assert [(r["id"], r["reward"]) for r in records] == [("sum#0", 1), ("sum#1", 0), ("sum#2", 1)]
    assert records[1]["error"]
    assert (code, "1 of 3 failed" in err) == (1, True)
    code, out, _ = _run(capsys, path, "--progress", "none")
    assert [line.split()[0] for line in out.splitlines()] == ["sample", "sum#0", "sum#1", "sum#2"]
    lines[1] = {**task, "id": "other", "language": "haskell", "completion": "main = return ()"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, err = _run(capsys, path, "--progress", "none")
    assert (code, "asks for 'haskell'" in err) == (3, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no samples"),
        ('{"prompt": "x"}\n', "samples.jsonl:1: 'completion' is missing"),
        ('{"prompt": "x", "completion": 3}\n', "samples.jsonl:1: 'completion' must be a string"),
        ('\n{"completion": "x"}\n', "samples.jsonl:2: has neither 'prompt' nor 'messages'"),
        ("{\n", "samples.jsonl:1: not JSON"),
    ],
)
def test_bad_samples(sources, capsys, text, said) -> None:
    """Every bad line is named."""
    path = sources / "samples.jsonl"
    path.write_text(text)
    code, out, err = _run(capsys, path)
    assert (code, out) == (2, "")
    assert said in err


def test_bad_arguments(sources, capsys) -> None:
    """Missing files, unreadable tests and flags that mean nothing are one message each."""
    (sources / "bad.json").write_text("[{]")
    (sources / "samples.jsonl").write_text('{"prompt": "x", "completion": "y"}\n')
    for arguments, said in (
        ((sources / "gone.cpp",), "gone.cpp: cannot be read"),
        ((sources / "gone.jsonl",), "gone.jsonl: cannot be read"),
        ((sources / "sum.cpp", "--tests", sources / "gone.json"), "gone.json: cannot be read"),
        ((sources / "sum.cpp", "--tests", sources / "bad.json"), "bad.json: cannot be read"),
        ((sources / "samples.jsonl", "--language", "cpp"), "are for a source file"),
        ((sources / "sum.cpp", "--verifier", "gccc"), "Did you mean 'gcc'?"),
        ((sources / "sum.cpp", "--verifier", "subprocess"), "needs verifier.command"),
        ((sources / "sum.cpp", "--language", "pyhton"), "Did you mean 'python'?"),
        ((sources / "sum.cpp", "--run-timeout", "nan"), "--run-timeout"),
        ((sources / "sum.cpp", "--verdict-cache", sources / "sum.cpp"), "cannot be used"),
        ((sources / "sum.cpp", "--timeout", "0"), "--timeout"),
    ):
        code, out, err = _run(capsys, *arguments)
        assert (code, out) == (2, "")
        assert said in err


def test_what_a_program_says_cannot_drive_the_terminal(sources, capsys) -> None:
    """Escape sequences in a diagnostic are shown, not sent."""
    (sources / "evil.py").write_text("raise ValueError('\\x1b[2J gone')\n")
    _, out, _ = _run(capsys, sources / "evil.py")
    assert "\x1b" not in out


SOURCES = {
    "empty": (b"", "no Python program"),
    "white space": (b" \n\t", "no Python program"),
    "20 MB": (b"x = 1\n" * (3 << 20), "longer than 1024 KiB"),
    "NUL": (b"print(1)\0", "null bytes"),
    "invalid UTF-8": (b"print(1)\xff\xfe", "does not compile"),
    "deep": (b"print(" + b"(" * 100_000 + b")" * 100_000 + b")", "does not compile"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_strange_source_is_a_verdict(tmp_path, capsys, name: str) -> None:
    """Whatever a source file holds, there is a verdict, and no traceback."""
    text, said = SOURCES[name]
    (tmp_path / "x.py").write_bytes(text)
    code, out, _ = _run(capsys, tmp_path / "x.py")
    assert code == 1
    assert out.startswith("failed, reward 0: ")
    assert said in out


TESTS = {
    "t.json": (b"\xff\xfe", 2, "t.json: cannot be read"),
    "none.json": (b"null", 2, "none.json: holds no tests"),
    "empty.json": (b"[]", 2, "empty.json: holds no tests"),
    "empty.py": (b" \n", 2, "empty.py: holds no tests"),
    "zero.json": (b'[{"input": "", "expected": "", "timeout": 0}]', 2, "zero.json: 'tests[0].time"),
    "half.json": (b'[{"input": "1"}]', 2, "half.json: 'tests[0].expected' is missing"),
    "deep.json": (b"[" * 9999, 2, "deep.json: cannot be read"),
    "broken.py": (b"def test(:", 3, "the tests of prompt 'add.py' cannot be run: SyntaxError"),
    ".": (None, 2, "cannot be read"),
}


@pytest.mark.parametrize("name", TESTS)
def test_strange_tests(sources, capsys, name: str) -> None:
    """Tests that cannot be read are the user's to mend; those that do not parse, a fault."""
    text, expected, said = TESTS[name]
    if text is not None:
        (sources / name).write_bytes(text)
    code, out, err = _run(capsys, sources / "add.py", "--tests", sources / name)
    assert (code, out) == (expected, "")
    assert said in err


def test_a_file_without_an_end(capsys) -> None:
    """A device that can be read for ever is refused instead."""
    code, _, err = _run(capsys, "/dev/zero")
    assert (code, "is no source file" in err) == (2, True)


def test_verdicts_are_kept_in_a_file(sources, capsys, monkeypatch) -> None:
    """With --verdict-cache a second call shows the same and runs nothing."""
    from halo_forge.rlvr.verifiers.workbench import Workbench

    monkeypatch.setenv("XDG_DATA_HOME", str(sources / "home"))
    arguments = (sources / "add.py", "--tests", sources / "test_add.py", "--verdict-cache",
                 sources / "verdicts", "--json")  # fmt: skip
    first = _run(capsys, *arguments)
    monkeypatch.setattr(Workbench, "build_and_run", None)
    jobs = []
    run = Workbench.run
    monkeypatch.setattr(Workbench, "run", lambda self, job: jobs.append(job) or run(self, job))
    assert _run(capsys, *arguments) == first
    assert not any(b"def add" in job.files.get("main.py", b"") for job in jobs)


NAIVE = """\
from halo_forge.rlvr.verifiers import Verifier, VerifyResult


class Naive(Verifier):
    def verify(self, code):
        paid = "exit" in self.extract_code(code)
        return VerifyResult(paid, float(paid), "looked at the words")
"""


def test_audit_of_a_verifier_of_ones_own(tmp_path, monkeypatch, capsys) -> None:
    """A verifier that can be fooled, and that refuses right answers, is shown both."""
    (tmp_path / "my_verifiers.py").write_text(NAIVE)
    monkeypatch.chdir(tmp_path)
    code = main(["verify", "audit", "--verifier", "my_verifiers:Naive", "--progress", "none"])
    out, err = capsys.readouterr()
    assert code == 1
    assert "false accept: sum-python, sys.exit: reward 1, looked at the words" in out
    assert "    sys.exit(0)" in out
    assert "false reject: sum-cpp, plain: reward 0" in out
    assert "my_verifiers:Naive: " in err
    code = main(["verify", "audit", "--verifier", "my_verifiers:Naive", "--json", "-q"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["skipped"]) == (1, {})
    assert found["false_accepts"][0].keys() >= {"task", "name", "answer", "reward"}
    for name in ("my_verifiers:Gone", "no_such_module:X", ":X"):
        assert main(["verify", "audit", "--verifier", name]) == 2
        assert f"verifier {name!r}: " in capsys.readouterr().err


def test_audit_of_what_is_shipped(capsys) -> None:
    """The shipped verifiers pass their own audit; tasks they cannot judge are skipped by name."""
    code = main(["verify", "audit", "--verifier", "gcc", "--run-timeout", "0.5", "--json", "-q"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["false_accepts"], found["false_rejects"]) == (0, [], [])
    assert found["judged"] > 10
    assert found["skipped"].keys() == {
        "add-python", "sum-csharp", "sum-go", "sum-python", "sum-rust",
    }  # fmt: skip


def test_audit_of_tests(tmp_path, capsys) -> None:
    """Weak tests let changed programs pass, broken ones refuse the reference; good ones neither."""
    good = [{"input": f"{a} {b}", "expected": str(a + b)} for a, b in ((1, 2), (7, 5), (0, -3))]
    weak = [{"input": "0 0", "expected": "0"}]
    task = {"prompt": "Add.", "language": "cpp", "reference": SUM}
    path = tmp_path / "prompts.jsonl"
    tests = {"good": good, "weak": weak, "wrong": [{"input": "1 2", "expected": "4"}]}
    lines = [{**task, "id": i, "prompt": i, "tests": cases} for i, cases in tests.items()]
    lines.append({"prompt": "no reference", "language": "cpp", "tests": good})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = ["--verifier", "execution", "--dataset", str(path), "--progress", "none"]
    assert main(["verify", "audit", *flags]) == 1
    out, _ = capsys.readouterr()
    assert "weak: weak, 1 of 1 changes pass: line 2: + became -" in out
    assert "wrong: the reference solution fails: test 1: expected '4', got '3'" in out
    assert "good:" not in out
    assert "tests of 2 are wanting; 1 without a reference" in out
    assert main(["verify", "audit", *flags, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in found] == ["weak", "wrong"]
    assert found[0]["survivors"] == [{"line": 2, "change": "+ became -"}]
    path.write_text(json.dumps(lines[0]) + "\n")
    assert main(["verify", "audit", *flags, "-q"]) == 0
