"""An adaptive budget on the command line: killed between waves it decides as if undisturbed."""

import json

import pytest

from halo_forge.store.records import read_records
from tests.fakes import write_script

pytestmark = pytest.mark.timeout(900)

COUNTS = {"easy": 3, "mixed": 9, "hard": 9}
ENDS = {"enough": 2, "solved": 0, "hopeless": 1, "spent": 0}


def answers(signs):
    """Programs for the signs, right or wrong; no two are alike, and each takes its time."""
    program = "```python\nimport time\ntime.sleep(0.3 + {} / 1000)\nprint({})\n```"
    return [program.format(index, 7 if sign == "+" else 0) for index, sign in enumerate(signs)]


@pytest.fixture(scope="module")
def settings(tiny_model_dir, tmp_path_factory):
    """Three prompts: one always solved, one a third of the time, one never."""
    folder = tmp_path_factory.mktemp("adaptive")
    tests = [{"input": "", "expected": "7\n"}]
    rows = [
        {"id": name, "prompt": f"{name}: print 7", "language": "python", "tests": tests}
        for name in COUNTS
    ]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    script = {"easy": "+" * 12, "mixed": "+--" * 4, "hard": "-" * 12}
    script = {name: answers(signs) for name, signs in script.items()}
    return {
        "prompts": folder / "prompts.jsonl",
        "model__name": tiny_model_dir,
        "generation__engine": "scripted",
        "generation__script": write_script(folder / "script.jsonl", script),
        "generation__sampling": "adaptive",
        "adaptive__wave": 3,
        "adaptive__enough": 3,
        "adaptive__confidence": 0.6,  # hopeless after nine: 1 - 0.9 ** 10 is 0.65
        "raft__samples_per_prompt": 12,
        "raft__reward_threshold": 0.9,
        "verifier__type": "execution",
        "verifier__max_workers": 1,
    }


def found(run):
    """Return what must not depend on kills: verdicts by id, and the record without its times."""
    judged = {r["id"]: (r["success"], r["reward"]) for r in read_records(run.verified_path(1))}
    (record,) = run.read_statistics()
    names = ("total_samples", "kept", "samples_saved", "tokens_saved", "prompt_ends", "steps")
    return judged, {name: record[name] for name in names}


def test_killed_between_waves(begin, settings, tmp_path):
    """Kill -9 in the first, the second and the third wave; then the end of an undisturbed run."""
    calm = begin(tmp_path / "calm", **settings)
    assert calm.wait() == 0, calm.said
    judged, record = found(calm.run)
    assert sorted(judged) == sorted(f"{name}#{i}" for name, n in COUNTS.items() for i in range(n))
    assert (record["samples_saved"], record["prompt_ends"]) == (3 * 12 - 21, ENDS)
    assert record["tokens_saved"] > 0

    struck = tmp_path / "struck" / "run"
    struck.parent.mkdir()
    for least in (2, 10, 16):
        attempt = begin(struck, **settings)
        attempt.until(lambda attempt=attempt, least=least: attempt.judged >= least)
        attempt.kill()
        assert least <= attempt.judged < 21
    attempt = begin(struck, **settings)
    assert attempt.wait() == 0, attempt.said
    assert found(attempt.run) == (judged, record)
    weights = "cycle_1_final/adapter_model.safetensors"
    assert (struck / weights).read_bytes() == (calm.run.path / weights).read_bytes()


def test_dry_run_says_at_most(settings):
    """Before a run its size is an upper bound."""
    from click.testing import CliRunner

    from halo_forge.cli import root

    flags = ["--prompts", str(settings["prompts"]), "--samples-per-prompt", "12"]
    done = CliRunner().invoke(
        root, ["raft", "train", "--sampling", "adaptive", "--dry-run", *flags]
    )
    assert done.exit_code == 0, done.output
    assert "A cycle: 3 prompts x 12 = 36 answers at most" in done.output
