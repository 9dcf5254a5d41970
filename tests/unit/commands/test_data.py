"""`halo-forge data validate` from the outside: output, and exit codes 0, 1 and 2."""

import json
import subprocess
import sys

import pytest

from halo_forge.cli import main
from halo_forge.commands import data
from halo_forge.core.types import Verdict, VerifyResult

_LINE = {"id": "a", "prompt": "Double the number.", "tests": "assert f(1) == 2"}


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
    path = prompts({"id": "a", "prompt": "Double the number."})
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
    assert f"{mine}:1: error: a: the same prompt as {theirs}:1" in capsys.readouterr().out


def test_json(prompts, capsys):
    """--json prints one object and nothing else."""
    path = prompts(_LINE, {"promt": "x"})
    assert main(["data", "validate", path, "--json", "-p", "1"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["source"], report["prompts"]) == (path, 1)
    assert (report["errors"], report["warnings"]) == (1, 0)
    assert report["findings"][0]["line"] == 2
    assert report["preview"] == [_LINE]


def test_preview_is_what_the_model_sees(prompts, capsys):
    """The first prompts are shown with their messages, and cannot drive the terminal."""
    path = prompts({**_LINE, "system": "Be\x1b[2J brief."}, {**_LINE, "id": "b", "prompt": "No."})
    assert main(["data", "validate", path, "--preview", "1"]) == 0
    out = capsys.readouterr().out
    assert "== a (test code)" in out
    assert "[user] Double the number." in out
    assert "\x1b" not in out
    assert "== b" not in out


def test_quiet(prompts, capsys):
    """-q leaves findings and drops the summary."""
    assert main(["data", "validate", prompts(_LINE), "-q"]) == 0
    assert capsys.readouterr().out == ""


def test_gold(prompts, capsys, monkeypatch):
    """--gold judges the solutions and reports what they score."""
    cases = [{"input": "1", "expected": "2"}]
    path = prompts({"id": "a", "prompt": "x", "tests": cases, "reference": "print(3)"})

    def judge(samples, *, quiet):
        return [Verdict(sample, VerifyResult(False, 0.5, "wrong")) for sample in samples]

    monkeypatch.setattr(data, "_judge", judge)
    assert main(["data", "validate", path, "--gold"]) == 1
    assert "error: a: the reference solution scores 0.5: wrong [gold]" in capsys.readouterr().out


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
