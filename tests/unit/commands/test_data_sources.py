"""`halo-forge data prepare` and `data prompts` from the outside."""

import json

import pytest

from halo_forge.cli import main
from halo_forge.data import decontaminate, rows
from halo_forge.data.prompts import load_prompts


@pytest.fixture
def source(tmp_path):
    """Two rows with answers, and one that has none of the columns."""
    path = tmp_path / "rows.jsonl"
    rows = [{"ask": "Q1", "say": "A1"}, {"ask": "Q2", "say": "A2"}, {"other": "x"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _run(*arguments):
    return main(["data", *map(str, arguments), "-q"])


def _fields(source, output):
    return ("-d", source, "--prompt-field", "ask", "--response-field", "say", "-o", output)


def test_prepare(source, tmp_path, capsys):
    """A training file comes with its manifest; what was left out is said."""
    output = tmp_path / "train.jsonl"
    assert _run("prepare", *_fields(source, output)) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{output}: 2 lines, written; licence unknown\n")
    assert "left out: 1 rows, has no column 'ask' (first: rows.jsonl:3)\n" in out
    line = json.loads(output.read_text().splitlines()[0])
    assert [turn["content"] for turn in line["messages"]] == ["Q1", "A1"]
    assert _run("prepare", *_fields(source, output)) == 0
    assert "there already" in capsys.readouterr().out
    assert _run("prepare", *_fields(source, output), "--thinking", "strip") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert _run("prepare", *_fields(source, output), "--thinking", "strip", "--overwrite") == 0


def test_a_licence_is_a_stranger_s_text(tmp_path, capsys):
    """What a card says does not reach the terminal as it is."""
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "README.md").write_text('---\nlicense: "\\e]0;owned\\amit"\n---\n')
    (copy / "train.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    assert _run("prepare", "-d", copy, "-o", tmp_path / "out.jsonl") == 0
    out = capsys.readouterr().out
    assert "owned" in out
    assert "\x1b" not in out
    assert "\x07" not in out


def test_benchmarks_are_read_once(source, tmp_path, monkeypatch):
    """Their facts and their use are of one reading."""
    bench = tmp_path / "bench.jsonl"
    bench.write_text('{"prompt": "Say the first of all the answers."}\n')
    read = []

    def counted(path):
        read.append(path)
        return rows.read_rows(path)

    monkeypatch.setattr(decontaminate, "read_rows", counted)
    output = tmp_path / "train.jsonl"
    assert _run("prepare", *_fields(source, output), "--against", bench) == 0
    assert read == [bench]


def test_templates(source, tmp_path, tiny_model_dir):
    """Text by a family's form, or by the model's own template."""
    output = tmp_path / "text.jsonl"
    assert _run("prepare", *_fields(source, output), "--template", "chatml") == 0
    text = json.loads(output.read_text().splitlines()[0])["text"]
    assert text == "<|im_start|>user\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
    own = tmp_path / "own.jsonl"
    assert _run("prepare", *_fields(source, own), "--model", tiny_model_dir) == 0
    text = json.loads(own.read_text().splitlines()[0])["text"]
    assert "Q1" in text
    assert "A1" in text
    assert _run("prepare", *_fields(source, own), "--model", "x", "--template", "llama") == 2


def test_prompts(tmp_path, capsys):
    """Prompts can be loaded, tests included; hidden tests follow the share and the seed."""
    source = tmp_path / "mbpp.jsonl"
    row = {"task_id": 601, "text": "Double.", "code": "def f(n):\n    return 2 * n",
           "test_list": [f"assert f({n}) == {2 * n}" for n in range(4)]}  # fmt: skip
    source.write_text(json.dumps(row) + "\n")
    output = tmp_path / "prompts.jsonl"
    arguments = ("prompts", "-d", "mbpp", "--source", source, "-o", output)
    assert _run(*arguments, "--hidden-share", "0.5", "--seed", "3", "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["settings"]["hidden_share"] == 0.5
    [prompt] = load_prompts(output)
    assert prompt.text.endswith("Write the Python function `f(n)`.")
    assert prompt.reference.test_code.count("assert") == 2
    assert prompt.reference.hidden_test_code.count("assert") == 2
    assert prompt.reference.solution == row["code"]
    again = tmp_path / "again.jsonl"
    assert _run("prompts", "-d", output, "-o", again) == 0
    [same] = load_prompts(again)
    assert same.reference.test_code == prompt.reference.test_code
    assert same.reference.hidden_test_code == prompt.reference.hidden_test_code


def test_dry_run_writes_nothing(source, tmp_path, capsys):
    """It shows what would be read and how."""
    output = tmp_path / "train.jsonl"
    assert _run("prepare", *_fields(source, output), "--dry-run", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["files"] == ["rows.jsonl"]
    assert not output.exists()


def test_list(capsys):
    """Every data set with its licence and what its tests are."""
    assert main(["data", "prepare", "--list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mbpp"]["configs"]["full"]["train"] == 374
    assert all(row["licence"] and row["tests"] for row in rows.values())
    assert main(["data", "prompts", "--list"]) == 0
    assert "codeforces_rust" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.jsonl"], "--dataset is missing"),
        (["-d", "mbpp"], "--output is missing"),
        (["-d", "mbbp", "-o", "x.jsonl"], "Did you mean 'mbpp'"),
        (["-d", "gone.jsonl", "-o", "x.jsonl"], "gone.jsonl: no such file"),
        (["-d", "multipl-e", "--source", "tests", "-o", "x.jsonl"], "holds none of"),
    ],
)
def test_wrong_input(arguments, message, capsys):
    """The user's mistakes are one message and exit code 2."""
    assert _run("prepare", *arguments) == 2
    assert message in capsys.readouterr().err
