"""What answers are expected: bounds, or those of an earlier run."""

from pathlib import Path

import orjson
import pytest

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt, Sample, VerifyResult
from halo_forge.data.prompts import write_prompts
from halo_forge.rlvr.expectation import assume, expect_like
from halo_forge.store.codec import verdict_record
from halo_forge.store.run_dir import RunDir

PROMPTS = [Prompt(name, (Message("user", name),)) for name in "abcd"]


def config(**settings: object) -> RaftConfig:
    """Settings by dotted key."""
    nested: dict[str, dict[str, object]] = {}
    for key, value in settings.items():
        section, _, name = key.partition("__")
        nested.setdefault(section, {})[name] = value
    return RaftConfig.model_validate(nested)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of one cycle: answers of 10, 20, .. 80 tokens, of which the long are good."""
    found = RunDir(tmp_path / "run")
    (found.checkpoint_path(1)).mkdir(parents=True)
    (found.checkpoint_path(1) / "adapter_config.json").touch()
    found.run_json.write_text('{"guarded": {}}')
    write_prompts(found.prompts_path, PROMPTS)
    lines = []
    for number in range(8):
        sample = Sample(
            PROMPTS[number % 4],
            number // 4,
            f"answer {number}",
            prompt_ids=(1,) * 5,
            token_ids=(2,) * (10 * number + 10),
        )
        good = number >= 4
        lines.append(orjson.dumps(verdict_record(sample, VerifyResult(good, float(good)))))
    found.verified_path(1).write_bytes(b"\n".join(lines) + b"\n")
    return found


def test_bounds() -> None:
    """Without an earlier run: a quarter of the limit to all of it, few kept to all that may be."""
    found = assume(config(raft__samples_per_prompt=8, generation__max_new_tokens=100), [5, 7], [9])
    assert found.low.lengths == (25,) * 16
    assert found.high.lengths == (100,) * 16
    assert found.high.heldout == (100,) * 4
    assert found.high.kept[:2] == ((107, 100), (105, 100))
    assert (len(found.low.kept), len(found.high.kept)) == (1, 8)
    assert "--like" in found.words


def test_like_a_run(run: RunDir) -> None:
    """Lengths of the same distribution, in another order, and as large a share kept."""
    found = expect_like(config(raft__samples_per_prompt=4), run.path, prompts=4, heldout=2)
    assert found.low is found.high
    assert sorted(found.high.lengths) == sorted(list(range(10, 90, 10)) * 2)
    assert list(found.high.lengths[:8]) != sorted(found.high.lengths[:8])
    assert len(found.high.kept) == 8
    assert all(tokens == said + 5 and said >= 50 for tokens, said in found.high.kept)
    assert len(found.high.heldout) == 2 * RaftConfig().evaluation.samples_per_prompt


def test_a_shorter_limit_cuts(run: RunDir) -> None:
    """Answers cannot be longer than the new limit."""
    found = expect_like(config(generation__max_new_tokens=30), run.path, 4, 0)
    assert max(found.high.lengths) == 30


def test_what_cannot_be_taken(run: RunDir, tmp_path: Path) -> None:
    """A folder that is no run, and settings by which nothing would be kept."""
    with pytest.raises(UserError, match="is not a run with a cycle"):
        expect_like(config(), tmp_path, 4, 0)
    run.verified_path(1).write_bytes(run.verified_path(1).read_bytes().splitlines()[0] + b"\n")
    with pytest.raises(UserError, match="no answer of cycle 1"):
        expect_like(config(), run.path, 4, 0)
