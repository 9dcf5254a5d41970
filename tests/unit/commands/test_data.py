"""`halo-forge data validate` from the outside: output, and exit codes 0, 1 and 2."""

import json
import subprocess
import sys

import pytest

from halo_forge.cli import main
from halo_forge.commands import _gold
from halo_forge.core.types import Verdict, VerifyResult

_LINE = {"id": "a", "prompt": "Double the number that is given.", "tests": "assert f(1) == 2"}


@pytest.fixture
def prompts(tmp_path):
    """Write objects as a prompts file and return its path as text."""

    def _prompts(*records, name="prompts.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return str(path)

    return _prompts


def test_good_file(prompts, capsys):
    """A file without findings is one line and exit code 0."""
    path = prompts(_LINE)
    assert main(["data", "validate", path]) == 0
    assert capsys.readouterr().out == f"{path}: 1 prompt, 0 errors, 0 warnings\n"


def test_warnings_do_not_fail(prompts, capsys):
    """A file with warnings only is fit for a run."""
    path = prompts({"id": "a", "prompt": "Double the number that is given."})
    assert main(["data", "validate", path]) == 0
    out = capsys.readouterr().out
    assert f"{path}:1: warning: a: no tests, so only compilation can be judged [no-tests]\n" in out
    assert out.endswith("1 prompt, 0 errors, 1 warning\n")


def test_errors_fail(prompts, capsys):
    """Every bad line is named, and the exit code is 1."""
    path = prompts({"promt": "x"}, _LINE, {"prompt": 3})
    assert main(["data", "validate", path]) == 1
    out, err = capsys.readouterr()
    assert f"{path}:1: error: unknown key 'promt'. Did you mean 'prompt'? [invalid]\n" in out
    assert f"{path}:3: error: 'prompt' should be a string, is a number (3) [invalid]\n" in out
    assert err == f"halo-forge: {path}: 2 errors to put right\n"


@pytest.mark.parametrize("arguments", [["{}x"], ["builtin:cpp/test"], ["{}", "--against", "{}x"]])
def test_what_cannot_be_read(prompts, capsys, arguments):
    """A file that is not there is the user's mistake: one message, exit code 2."""
    path = prompts(_LINE)
    assert main(["data", "validate", *(part.format(path) for part in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("halo-forge: ")
    assert "Did you mean" in err


def test_against(prompts, capsys):
    """Prompts of the other file are errors of this one."""
    mine, theirs = prompts(_LINE), prompts({**_LINE, "id": "b"}, name="other.jsonl")
    assert main(["data", "validate", mine, "--against", theirs]) == 1
    out = capsys.readouterr().out
    assert f"{mine}:1: error: a: holds 100% of the task b of {theirs} [contaminated]\n" in out
    assert "overlap: 1 record with 1 benchmark task\n" in out


def test_json(prompts, capsys):
    """--json prints one object and nothing else."""
    path = prompts(_LINE, {"promt": "x"})
    assert main(["data", "validate", path, "--json", "-p", "1"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["source"], report["kind"], report["records"]) == (path, "prompts", 1)
    assert (report["errors"], report["warnings"]) == (1, 0)
    assert report["findings"][0]["line"] == 2
    assert report["preview"] == [
        {
            "line": 1,
            "id": "a",
            "messages": [{"role": "user", "content": _LINE["prompt"]}],
            "tests": "code",
            "hidden_tests": 0,
        }
    ]


def test_preview_is_what_the_model_sees(prompts, capsys):
    """The first prompts are shown with their messages, and cannot drive the terminal."""
    path = prompts({**_LINE, "system": "Be\x1b[2J brief."}, {**_LINE, "id": "b", "prompt": "No."})
    assert main(["data", "validate", path, "--preview", "1"]) == 0
    out = capsys.readouterr().out
    assert "== a (line 1, test code)" in out
    assert "[user] Double the number that is given." in out
    assert "\x1b" not in out
    assert "== b" not in out


def test_quiet(prompts, capsys):
    """-q leaves findings and drops the summary."""
    assert main(["data", "validate", prompts(_LINE), "-q"]) == 0
    assert capsys.readouterr().out == ""


def test_gold(prompts, capsys, monkeypatch):
    """--gold judges the solutions, each by the verifier that its tests are made for."""
    cases = [{"input": "1", "expected": "2"}]
    path = prompts(
        {"id": "a", "prompt": "x", "tests": cases, "reference": "print(3)"},
        {"id": "b", "prompt": "y", "tests": "assert f() == 1", "reference": "f = None"},
        {"id": "c", "prompt": "z", "tests": "assert f() == 1", "entry_point": "f"},
    )
    asked = []

    class Judge:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            return self

        def __exit__(self, *_):
            asked.append((self.name, ["closed"]))

        def start(self, given):
            asked.append((self.name, [prompt.id for prompt in given]))

    monkeypatch.setattr(_gold.registry, "load", lambda group, name: lambda: Judge(name))
    monkeypatch.setattr(
        _gold,
        "judge_all",
        lambda verifier, samples: [Verdict(s, VerifyResult(False, 0.5, "wrong")) for s in samples],
    )
    assert main(["data", "validate", path, "--gold"]) == 1
    assert "error: a: the reference solution scores 0.5: wrong [gold]" in capsys.readouterr().out
    assert sorted(asked) == [
        ("execution", ["a", "a"]),
        ("execution", ["closed"]),
        ("humaneval", ["c"]),
        ("humaneval", ["closed"]),
        ("pytest", ["b", "b"]),
        ("pytest", ["closed"]),
    ]


def test_gold_in_the_sandbox(prompts, capsys):
    """The real thing: a right and a wrong reference of test code."""
    tests = "def test_double():\n    assert double(2) == 4"
    path = prompts(
        {"id": "a", "prompt": "x", "tests": tests, "reference": "def double(x):\n    return 2 * x"},
        {"id": "b", "prompt": "y", "tests": tests, "reference": "def double(x):\n    return x"},
    )
    assert main(["data", "validate", path, "--gold"]) == 1
    out = capsys.readouterr().out
    assert "b: the reference solution scores 0: test_double" in out
    assert out.endswith("2 prompts, 1 error, 0 warnings\n")


def test_training_records(prompts, capsys):
    """A training file is told from a prompts file, and its forms are counted."""
    path = prompts({"prompt": "x", "completion": "```py\n1"}, {"question": "y", "answer": "z"})
    assert main(["data", "validate", path, "-p", "1"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("== record (line 1)\n[user] x\n[assistant] ```py\n1\n")
    assert f"{path}:1: error: a code block is never closed [unclosed-fence]\n" in out
    assert "form:    1 prompt+completion, 1 question+answer\n" in out
    assert out.endswith("2 training records, 1 error, 0 warnings\n")


def test_write(prompts, tmp_path, capsys):
    """--write leaves the lines without an error in another file, and never in FILE itself."""
    path, clean = prompts(_LINE, {"promt": "x"}), tmp_path / "clean.jsonl"
    assert main(["data", "validate", path, "--write", str(clean)]) == 1
    assert [json.loads(line) for line in clean.read_text().splitlines()] == [_LINE]
    assert main(["data", "validate", path, "--write", path]) == 2
    assert "is FILE itself" in capsys.readouterr().err
    assert len((tmp_path / "prompts.jsonl").read_text().splitlines()) == 2


def test_prepare_without_benchmarks(prompts, tmp_path, capsys):
    """`data prepare --against` leaves out what holds a task, and the manifest says so."""
    told = "Print the largest of the numbers that stand on the second line, and then their sum."
    rows = [{"ask": told, "say": "print(1)"}, {"ask": "Greet me.", "say": "Hello."}]
    path, out = prompts(*rows), tmp_path / "train.jsonl"
    bench = prompts({"task_id": 7, "question_content": told}, name="bench.jsonl")
    columns = ["--prompt-field", "ask", "--response-field", "say"]
    command = ["data", "prepare", "-d", path, *columns, "--against", bench, "-o", str(out), "-q"]
    assert main(command) == 0
    assert "left out: 1 rows, holds a task of a benchmark" in capsys.readouterr().out
    (line,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert line["messages"][0]["content"] == "Greet me."
    manifest = json.loads((tmp_path / "train.jsonl.manifest.json").read_text())
    assert manifest["settings"]["decontaminate"]["against"][0]["source"] == bench
    assert main(["data", "validate", str(out), "--against", bench]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-tokens", "9"], "--tokenizer MODEL"),
        (["--mark"], "--against FILE"),
        (["--gold", "--type", "training"], "no tests to run"),
        (["--near", "0"], "near"),
    ],
)
def test_what_does_not_go_together(prompts, capsys, arguments, said):
    """A flag that needs another one says which; exit code 2."""
    assert main(["data", "validate", prompts(_LINE), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_thresholds_in_a_file(prompts, tmp_path, capsys):
    """What is near is a setting: a flag, or a key in a file."""
    twin = {**_LINE, "id": "b", "prompt": "Double the number that is shown."}
    path, settings = prompts(_LINE, twin), tmp_path / "v.yaml"
    settings.write_text("near: 0.4\n")
    assert main(["data", "validate", path]) == 0
    assert "near-duplicate" not in capsys.readouterr().out
    for given in (["--near", "0.4"], ["-c", str(settings)], ["--set", "near=0.4"]):
        assert main(["data", "validate", path, *given]) == 0
        assert "near-duplicate" in capsys.readouterr().out


def test_tokens_of_a_model(prompts, capsys, tiny_model_dir):
    """Lengths are those of the model's own tokenizer and template."""
    path = prompts({"text": "one"}, {"text": "one two three four five six seven eight"})
    flags = ["--tokenizer", str(tiny_model_dir), "--max-tokens", "12", "--json"]
    assert main(["data", "validate", path, *flags]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["lengths"]["tokenizer"] == str(tiny_model_dir)
    assert 1 < report["lengths"]["least"] <= 12 < report["lengths"]["most"]
    assert [(item["line"], item["rule"]) for item in report["findings"]] == [(2, "too-long")]


def test_table_on_a_terminal(prompts, capsys, monkeypatch):
    """On a terminal the findings are a table."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["data", "validate", prompts({"id": "a", "prompt": "[bold]x[/bold]"})]) == 0
    out = capsys.readouterr().out
    assert ":1: warning" not in out
    assert [line.split()[:2] for line in out.splitlines()[1:2]] == [["line", "level"]]
    assert "no-tests" in out


def test_loads_no_torch():
    """Checking a file takes no second of import."""
    code = (
        "import sys; from halo_forge.cli import main;"
        "code = main(['data', 'validate', 'builtin:cpp/train']);"
        "sys.exit(code or bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
