"""Checks of data files: a file full of faults of which none is missed, and nothing else said."""

import gzip
import json
import tracemalloc

import pytest

from halo_forge.config.data import DecontaminationSettings, ValidateConfig
from halo_forge.core.errors import StoreFault, UserError
from halo_forge.data.validate import Tools, validate
from tests.needs import package

_GOOD = [{"input": "1\n", "expected": "1\n"}, {"input": "2\n", "expected": "4\n"}]
_SUBJECTS = [
    "Square a number read from one line.",
    "Reverse the words of the sentence you are given.",
    "Tell whether a year has a leap day in February.",
    "Find the cheapest way through the toll grid.",
    "Say how many vowels the poem contains altogether.",
    "Sort seven bridges by their length, longest first.",
    "Give the change in as few coins as the till allows.",
]


def _good(at, **changes):
    return {
        "id": f"good/{at}",
        "prompt": _SUBJECTS[at],
        "language": "cpp",
        "tests": _GOOD,
        **changes,
    }


def _chat(asked, answer, **more):
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **more}


def _code(language, code, fence="\n```"):
    return f"Here it is.\n\n```{language}\n{code}{fence}"


def _lines(*lines):
    return "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)


@pytest.fixture
def check(tmp_path):
    """Write objects (or raw lines) to a file and check it."""

    def _check(*lines, name="data.jsonl", tools=None, kind=None, write=None, **settings):
        path = tmp_path / name
        path.write_text(_lines(*lines), "utf-8")
        return validate(path, ValidateConfig(**settings), tools or Tools(), kind, write)

    return _check


def _found(report):
    return [(item.line, item.rule) for item in report.findings]


PROMPTS = [
    (_good(0), None),
    ('{"prompt": "cut', "unreadable"),
    ('["prompt", "a list"]', "unreadable"),
    ('"prompt"', "unreadable"),
    ("prompt: yaml", "unreadable"),
    (_good(1), None),
    ({"promt": "misspelt key"}, "invalid"),
    ({"id": "a", "system": "nothing asked"}, "invalid"),
    ({"prompt": ""}, "invalid"),
    ({"prompt": "asked", "messages": [{"role": "user", "content": "twice"}]}, "invalid"),
    ({"messages": [{"role": "assistant", "content": "nobody asked"}]}, "invalid"),
    ({"messages": [{"role": "robot", "content": "who"}]}, "invalid"),
    ({"prompt": "which language", "language": "c+++"}, "invalid"),
    ({"prompt": "how hard", "difficulty": 11}, "invalid"),
    ({"prompt": "a number as input", "tests": [{"input": 1, "expected": "1"}]}, "invalid"),
    ({"prompt": "no expected", "tests": [{"input": "1"}]}, "invalid"),
    ({"prompt": "no time", "tests": [{"input": "1", "expected": "1", "timeout": -1}]}, "invalid"),
    ({"prompt": "tests as object", "tests": {"input": "1", "expected": "1"}}, "invalid"),
    ({"prompt": "what is on it", "image": 7}, "invalid"),
    (_good(2, metadata={"source": "mine"}), None),
    (_good(3, id="good/0"), "repeated-id"),
    (_good(0, id="other"), "repeated-prompt"),
    (_good(4, prompt="Square a number  read from one line!"), "near-duplicate"),
    ({"prompt": "Nobody can say whether this is right."}, "no-tests"),
    (
        _good(4, id="t1", tests=[*_GOOD, {"input": "1\n", "expected": "9\n"}]),
        "contradiction",
    ),
    (_good(5, id="t2", tests=[*_GOOD, _GOOD[0]]), "test-repeats"),
    (
        _good(6, id="t3", tests=[{"input": "1", "expected": "7"}, {"input": "2", "expected": "7"}]),
        "constant-output",
    ),
    (
        {"id": "t4", "prompt": "Add up the digits.", "tests": _GOOD, "hidden_tests": _GOOD[:1]},
        "hidden-test-repeats",
    ),
    ({"id": "t5", "prompt": "Name the capital of a country.", "tests": "assert f() == 1"}, None),
    ({"id": "t6", "prompt": "Print a greeting.", "expected_output": "hello\n"}, None),
    (
        {
            "id": "t7",
            "prompt": "Halve what stands on the line.",
            "tests": _GOOD,
            "language": "python",
            "reference": "def half(x):\n    return (x",
        },
        "truncated-code",
    ),
    (
        {
            "id": "t8",
            "prompt": "Tell apart odd and even ones.",
            "tests": _GOOD,
            "language": "rust",
            "reference": "def odd(x):\n    return x % 2",
        },
        "language-mismatch",
    ),
    (
        {
            "id": "t9",
            "prompt": "Swap both ends of a list.",
            "tests": _GOOD,
            "language": "cpp",
            "reference": "int main() {\n  for (;;) {\n    break;\n",
        },
        "truncated-code",
    ),
    (
        {
            "id": "t10",
            "prompt": "Print every third letter of it.",
            "tests": _GOOD,
            "language": "python",
            "reference": "print 'x'\nx = 1\n",
        },
        "syntax",
    ),
    (
        {
            "id": "t11",
            "prompt": "Count the islands on the chart.",
            "tests": _GOOD,
            "reference": "It is done so:\n```python\n```",
        },
        "empty-code",
    ),
]
_WHOLE_RUST = 'fn main() {\n    let mut x = 1;\n    println!("{}", x);\n}'
TRAINING = [
    (_chat("Add two numbers.", _code("python", "def add(a, b):\n    return a + b")), None),
    ('{"messages": [{"role": "user"', "unreadable"),
    ("[1, 2]", "unreadable"),
    ("not json at all", "unreadable"),
    ({"prompt": "Greet the reader of this.", "completion": "Good day to you."}, None),
    ({"promt": "a", "completion": "b"}, "invalid"),
    ({"prompt": "a question without an answer"}, "invalid"),
    ({"prompt": "What?", "completion": ""}, "invalid"),
    ({"prompt": "How?", "completion": 7}, "invalid"),
    ({"prompt": " ", "completion": "to nothing"}, "invalid"),
    ({"messages": []}, "invalid"),
    ({"messages": "hello"}, "invalid"),
    ({"messages": [{"role": "user", "content": "and?"}]}, "invalid"),
    ({"messages": [{"role": "assistant", "content": ["a", "list"]}]}, "invalid"),
    ({"messages": [{"role": "narrator", "content": "once"}]}, "invalid"),
    ({"text": ""}, "invalid"),
    ({"id": "nothing in it"}, "invalid"),
    ({"instruction": "Name a colour of the sky.", "input": "", "output": "Blue it is."}, None),
    ({"query": "Which river runs through Rome?", "response": "The Tiber does that."}, None),
    ({"question": "How many legs has a spider got?", "answer": "Eight legs, always."}, None),
    ({"prompt": "Greet the reader of this.", "completion": "Good day to you."}, "repeated-record"),
    (
        _chat("Add the two numbers.", _code("python", "def add(a, b):\n    return a + b")),
        "near-duplicate",
    ),
    (_chat("Sort it upwards, please.", _code("python", "sorted(x)", "")), "unclosed-fence"),
    (_chat("Say what you would run there.", _code("python", "")), "empty-code"),
    (
        _chat("Find the biggest of them all.", _code("python", "def top(x):\n    best = max(x")),
        "truncated-code",
    ),
    (
        _chat("Loop over every key of it.", _code("py", "for key in table:\n    if key:")),
        "truncated-code",
    ),
    (
        _chat("Quote her last words for me.", _code("python", "said = 'no more than")),
        "truncated-code",
    ),
    (
        _chat("Start the engine in C++ now.", _code("cpp", "int main() {\n  if (true) {\n  }")),
        "truncated-code",
    ),
    (
        _chat("Print with the old statement.", _code("python", "print 'old'\nx = 2")),
        "syntax",
    ),
    (
        _chat("Do it in Rust, the safe way.", _code("rust", "def f(x):\n    return x")),
        "language-mismatch",
    ),
    (
        _chat("Do that in Python instead of it.", _code("python", _WHOLE_RUST)),
        "language-mismatch",
    ),
    (
        _chat("A Go program that says hello.", _code("rust", _WHOLE_RUST), language="go"),
        "language-mismatch",
    ),
    (
        _chat("Which one is it, C or else?", _code("go", "#include <stdio.h>\nint main() {}")),
        "language-mismatch",
    ),
    (_chat("Recite the whole long poem.", "la " * 400), "too-long"),
    (
        _chat(
            "Given the toll grid, find the cheapest way from the upper left to the lower right.",
            "First look at where the tolls are.",
        ),
        "contaminated",
    ),
    ({"text": "A lesson on Rust.\n\n```rust\nfn one<'a>(x: &'a str) -> char { '{' }\n```\n"}, None),
    (
        {"prompt": "In C?", "completion": "```c\nint f() { return '{'; } // }}\n```"},
        None,
    ),
]
_TASK = {
    "task_id": "grid/1",
    "prompt": "Given the toll grid, find the cheapest way from the upper left to the lower right.",
}


def _words(records):
    return [
        len((text or " ".join(turn.content for turn in turns)).split()) for turns, text in records
    ]


def test_thirty_faults_in_prompts(check):
    """Thirty faults, one finding each, on the right line; good lines give none."""
    report = check(*[line for line, _ in PROMPTS])
    expected = [(at, rule) for at, (_, rule) in enumerate(PROMPTS, 1) if rule]
    assert len(expected) == 30
    assert _found(report) == expected
    assert (report.kind, report.errors, report.warnings) == ("prompts", 22, 8)


def test_thirty_faults_in_training_records(check, tmp_path):
    """The same for training records: every rule there is, in all forms a line may have."""
    (tmp_path / "bench.jsonl").write_text(json.dumps(_TASK) + "\n")
    report = check(
        *[line for line, _ in TRAINING],
        tools=Tools(measure=_words),
        max_tokens=300,
        decontaminate=DecontaminationSettings(against=(str(tmp_path / "bench.jsonl"),)),
    )
    expected = [(at, rule) for at, (_, rule) in enumerate(TRAINING, 1) if rule]
    assert len(expected) == 30
    assert _found(report) == expected
    assert report.kind == "training"
    warnings = {item.rule for item in report.findings if item.level == "warning"}
    assert warnings == {"near-duplicate", "language-mismatch", "syntax", "truncated-code"}
    assert report.formats["messages"] > report.formats["prompt+completion"] > 1
    assert report.formats["query+response"] == report.formats["question+answer"] == 1


def test_what_only_looks_like_a_fault(check):
    """Sessions, fragments, raw strings, lifetimes and shells are no faults."""
    good = [
        _code("python", ">>> f(1)\n2"),
        _code("python", "    return x\n"),
        _code("rust", "fn first<'a>(x: &'a str, c: char) -> bool { c == '{' }"),
        _code("cpp", 'auto s = R"(} ) {)"; // {\nint x = 1\'000;'),
        _code("cpp", "} else {\n  f();\n}"),
        _code("go", "s := `{{{`"),
        _code("bash", "for x in *; do echo $x; done"),
        _code("", "whatever ( this is"),
        _code("json", '{"a": 1}'),
        _code("javascript", "const f = (x) => { return 'it is {'; };"),
        _code("typescript", "const f = (x: number) => { return x; };"),
        _code("c", "#include <stdio.h>\nint main() { return 0; }"),
        "Use `std::vector` and ``x``; the marker is ``` in Markdown.",
    ]
    report = check(*[_chat(f"{n} is the number of {n * 7}", text) for n, text in enumerate(good)])
    assert report.findings == ()


def test_findings_name_what_they_mean(check):
    """Messages point to the other line, and carry the id."""
    report = check(_good(0), _good(0, id="b"), _good(1, id="good/0"))
    assert [(item.id, item.message) for item in report.findings] == [
        ("b", "the same prompt as line 1"),
        ("good/0", "the id 'good/0' is taken by line 1"),
    ]


@pytest.mark.parametrize("kind", ["prompts", "training"])
def test_file_without_records(check, kind):
    """An empty file is an error of the whole file."""
    report = check(kind=kind)
    assert _found(report) == [(None, "empty")]
    assert report.errors == 1


def test_hidden_tests_are_checked_too(check):
    """A contradiction hides in hidden tests as well."""
    hidden = [{"input": "5", "expected": "1"}, {"input": "5", "expected": "2"}]
    report = check(_good(0, hidden_tests=hidden))
    assert _found(report) == [(1, "contradiction")]
    assert "hidden_tests expect different outputs for the input '5'" in report.findings[0].message


def test_same_output_up_to_blanks_is_no_contradiction(check):
    """Two tests that differ in blanks only are a repeat."""
    tests = [*_GOOD, {"input": "1\n", "expected": "1"}]
    assert _found(check(_good(0, tests=tests))) == [(1, "test-repeats")]


def test_the_kind_can_be_said(check):
    """A prompt with a reference is a prompt, and trained on when one says so."""
    line = {"prompt": "Add them.", "reference": "print(1)", "language": "python", "tests": _GOOD}
    assert check(line).kind == "prompts"
    report = check(line, kind="training")
    assert (report.kind, report.formats, report.findings) == (
        "training",
        {"prompt+reference": 1},
        (),
    )


def test_gold_needs_prompts(check):
    """Training records bring no tests: that is said, not passed over."""
    with pytest.raises(UserError, match="no tests to run"):
        check({"text": "x"}, tools=Tools(judge=lambda samples: []))


def test_lengths(check):
    """Shortest, longest, median and sum, in tokens of whoever counts them."""
    lines = [{"text": "w " * n} for n in (1, 2, 3, 4, 90)]
    report = check(*lines, tools=Tools(measure=_words), tokenizer="words", max_tokens=89)
    lengths = report.lengths
    assert (lengths.tokenizer, lengths.least, lengths.median, lengths.most) == ("words", 1, 3.0, 90)
    assert lengths.total == 100
    assert [item.message for item in report.findings if item.rule == "too-long"] == [
        "90 tokens, 1 more than 89"
    ]


def test_what_is_written_is_what_was_read(check, tmp_path):
    """Numbers beyond 64 bits stay whole, and other lines are as they were."""
    clean = tmp_path / "clean.jsonl"
    notes = [2**64, -(10**40), 1.5, 10**18, [2**80, {"n": 2**70}], 1e300, None]
    lines = [{"text": f"text {n}", "metadata": {"n": note}} for n, note in enumerate(notes)]
    assert check(*lines, write=clean).errors == 0
    assert [json.loads(line) for line in clean.read_text().splitlines()] == lines
    kinds = [type(json.loads(line)["metadata"]["n"]) for line in clean.read_text().splitlines()]
    assert kinds == [int, int, float, int, list, float, type(None)]


@pytest.mark.parametrize(
    ("value", "said"),
    [(b"\xff", "cannot be written as JSON"), (float("nan"), "'n' holds a number")],
)
def test_columns_that_json_does_not_know(tmp_path, value, said):
    """Bytes and NaN of a Parquet file."""
    arrow = package("pyarrow")
    from pyarrow import parquet

    path, clean = tmp_path / "rows.parquet", tmp_path / "clean.jsonl"
    rows = [{"text": "a", "n": None}, {"text": "b", "n": value}]
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    with pytest.raises(UserError, match=rf"rows\.parquet:2: {said}"):
        validate(path, ValidateConfig(), Tools(), write=clean)
    assert not clean.exists()


def test_writes_the_lines_without_errors(check, tmp_path):
    """What is fit is written as it was, in order; warnings stay."""
    clean = tmp_path / "out" / "clean.jsonl"
    lines = [{"text": "one two"}, "broken", {"text": ""}, _chat("a", _code("py", "print 'x'\ny=1"))]
    report = check(*lines, write=clean)
    assert [json.loads(line) for line in clean.read_text().splitlines()] == [lines[0], lines[3]]
    assert (report.errors, report.warnings) == (2, 1)
    again = validate(clean, ValidateConfig(), Tools())
    assert again.errors == 0


def test_a_disk_that_refuses_leaves_the_old_file(check, tmp_path):
    """What cannot be written is a fault, and half a file is never left."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFault):
        check({"text": "x"}, write=tmp_path / "file" / "clean.jsonl")
    assert list(tmp_path.glob("*.tmp-*")) == []


def test_contaminated_lines_are_dropped_or_marked(check, tmp_path):
    """By default a line that holds a task is an error; marked, it says whose task it holds."""
    bench, clean = tmp_path / "bench.jsonl", tmp_path / "clean.jsonl"
    bench.write_text(json.dumps(_TASK) + "\n")
    lines = [{"text": "Nothing to see."}, {"text": _TASK["prompt"], "metadata": {"source": "web"}}]
    settings = DecontaminationSettings(against=(str(bench),))
    report = check(*lines, write=clean, decontaminate=settings)
    assert _found(report) == [(2, "contaminated")]
    assert clean.read_text().splitlines() == [json.dumps(lines[0], separators=(",", ":"))]
    assert report.decontamination["overlapping"] == 1
    marking = settings.model_copy(update={"action": "mark"})
    report = check(*lines, write=clean, decontaminate=marking)
    assert (report.errors, report.warnings) == (0, 1)
    marked = json.loads(clean.read_text().splitlines()[1])
    assert marked["metadata"]["source"] == "web"
    assert marked["metadata"]["contaminated"] == [
        {"kind": "text", "source": str(bench), "item": "grid/1", "share": 1.0}
    ]


def test_compressed_files(tmp_path):
    """A gzip file is read like a plain one."""
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(_lines({"text": "a"}, {"text": ""}).encode()))
    assert _found(validate(path, ValidateConfig(), Tools())) == [(2, "invalid")]


def test_tables(tmp_path):
    """CSV and JSON are read by their columns, and a bad row has its number."""
    table = tmp_path / "data.csv"
    table.write_text('prompt,completion\n"One, two?",three\nlonely\nfour,"```py\nx"\n')
    report = validate(table, ValidateConfig(), Tools())
    assert (report.kind, _found(report)) == ("training", [(3, "unreadable"), (5, "unclosed-fence")])
    listed = tmp_path / "data.json"
    listed.write_text(json.dumps([{"prompt": "a", "tests": "assert f()"}, {"prompt": ""}]))
    report = validate(listed, ValidateConfig(), Tools())
    assert (report.kind, _found(report)) == ("prompts", [(2, "invalid")])


def test_memory_does_not_follow_the_file(tmp_path):
    """Of a record about half a kilobyte stays, however long it is."""

    def peak(records):
        path = tmp_path / "long.jsonl"
        texts = (" ".join(f"w{n}x{at}" for at in range(500)) for n in range(records))
        path.write_text(_lines(*({"text": text} for text in texts)))
        tracemalloc.start()
        try:
            assert validate(path, ValidateConfig(), Tools()).findings == ()
            return tracemalloc.get_traced_memory()[1], path.stat().st_size
        finally:
            tracemalloc.stop()

    peak(10)  # imports
    (few, small), (many, large) = peak(300), peak(600)
    assert many - few < (large - small) / 4


def test_pictures_that_are_not_there(check, tmp_path):
    """A prompt whose picture a run would look for in vain is a bad line; a truth is a test."""
    (tmp_path / "p.png").write_bytes(b"looked at later")
    asked = {"prompt": "What is it?", "ground_truth": "a cat"}
    report = check(
        asked | {"image": str(tmp_path / "p.png")},
        asked | {"prompt": "What else?", "image": "gone.png"},
        asked | {"prompt": "And what?", "image": "iVBORw0KGgo" * 60},
        kind="prompts",
    )
    assert [(f.line, f.rule) for f in report.findings] == [(2, "invalid"), (3, "invalid")]
