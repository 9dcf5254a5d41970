"""A benchmark keeps every answer, estimates from them, and goes on where it was."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from halo_forge.benchmark.pass_at_k import pass_at_k
from halo_forge.benchmark.runner import BenchmarkResult, run_benchmark
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.core.errors import UserError, VerifierFault
from halo_forge.core.types import Sample
from halo_forge.engines.base import EngineSpec
from halo_forge.report.tables import benchmark_effort
from halo_forge.store.records import read_records
from tests.fakes import (
    Diary,
    FakeVerifier,
    Hook,
    Offline,
    nothing,
    plug_in,
    tree,
    write_script,
)

ANSWERS = {
    "sum": ["pass a", "pass b", "fail c", "compile d"],
    "max": ["fail a", "compile b", "compile c", "fail d"],
    "wc": ["pass a", "pass b", "pass c", "pass d"],
}
PASSED = {"sum": 2, "max": 0, "wc": 4}
COMPILED = {"sum": 3, "max": 2, "wc": 4}


class Bench:
    """Prompts, answers, and settings that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "result"
        self.judging: Hook = nothing
        self.opened: list[EngineSpec] = []
        self.prompts = folder / "prompts.jsonl"
        rows = [
            {"id": "sum", "prompt": "Sum the numbers.", "category": "math"},
            {"id": "max", "prompt": "Print the largest.", "category": "math"},
            {"id": "wc", "prompt": "Count the words."},
        ]
        self.prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
        write_script(folder / "script.jsonl", ANSWERS)

    def run(self, **changes: Any) -> BenchmarkResult:
        """Run the benchmark, as one call of the command does."""
        values = {
            "model": {"name": "a-model"},
            "output_dir": str(self.output),
            "prompts": str(self.prompts),
            "samples": 4,
            "k": (1, 2, 4),
            "generation": {"engine": "offline", "script": str(self.folder / "script.jsonl")},
            "verifier": {"type": "fake"},
            **changes,
        }
        return run_benchmark(BenchmarkConfig.model_validate(values), Diary())

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the answers on disk by id."""
        return {record["id"]: record for record in read_records(self.output / "samples.jsonl")}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A benchmark whose parts need no torch."""
    made = Bench(tmp_path)
    checkpoint = ModuleType("halo_forge.models.checkpoint")
    checkpoint.model_digest = lambda ref: f"digest of {ref}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, checkpoint.__name__, checkpoint)
    plug_in(monkeypatch, "verifiers", "fake", FakeVerifier)
    plug_in(monkeypatch, "engines", "offline", Offline)
    init, judge = Offline.__init__, FakeVerifier.judge

    def opening(self: Offline, spec: EngineSpec) -> None:
        made.opened.append(spec)
        init(self, spec)

    def judging(self: FakeVerifier, sample: Sample) -> Any:
        made.judging(sample)
        return judge(self, sample)

    monkeypatch.setattr(Offline, "__init__", opening)
    monkeypatch.setattr(FakeVerifier, "judge", judging)
    return made


def test_figures(bench: Bench) -> None:
    """pass@k and compile@k are the unbiased means over problems, under different names."""
    result = bench.run()
    assert (result.prompts, result.samples_per_prompt) == (3, 4)
    for counts, found in ((PASSED, result.pass_at_k), (COMPILED, result.compile_at_k)):
        assert list(found) == ["1", "2", "4"]
        for k, estimate in found.items():
            expected = sum(pass_at_k(4, c, int(k)) for c in counts.values()) / 3
            assert estimate["mean"] == pytest.approx(expected)
            assert estimate["low"] <= estimate["mean"] <= estimate["high"]
            assert estimate["units"] == 3
    assert result.verifier == "fake bonus=0"
    assert result.model == "a-model"


def test_passing_without_a_test_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an answer passes because it compiles, the figures do not look like tested ones."""
    assert bench.run().untested == 0
    bench.output = bench.folder / "compiled"
    verify = FakeVerifier.verify

    def compiling(self: FakeVerifier, code: str) -> Any:
        return replace(verify(self, code), metadata={"stage": "compile"})

    monkeypatch.setattr(FakeVerifier, "verify", compiling)
    result = bench.run()
    assert result.untested == sum(PASSED.values())
    assert benchmark_effort(result.to_dict()).startswith(
        f"NO TEST judged {result.untested} of the answers that pass"
    )


def test_categories(bench: Bench) -> None:
    """Each category has its problems, and estimates over them; what has none is called so."""
    groups = bench.run().by_category
    assert {name: (one["prompts"], one["samples"]) for name, one in groups.items()} == {
        "math": (2, 8),
        "none": (1, 4),
    }
    for key, counts in (("pass_at_k", (2, 0)), ("compile_at_k", (3, 2))):
        for k, estimate in groups["math"][key].items():
            expected = sum(pass_at_k(4, c, int(k)) for c in counts) / 2
            assert estimate["mean"] == pytest.approx(expected)
            assert estimate["low"] < estimate["mean"] or estimate["mean"] == 1
            assert estimate["units"] == 2
    assert groups["none"]["pass_at_k"]["1"]["mean"] == 1


def test_tokens_are_those_of_all_answers(bench: Bench) -> None:
    """They do not depend on how many attempts it took; time is that of the last that worked."""

    def broken(sample: Sample) -> None:
        if sample.id == "wc#3":
            raise VerifierFault("the disk is full")

    bench.judging = broken
    with pytest.raises(VerifierFault):
        bench.run()
    bench.judging = nothing
    result = bench.run()
    lengths = [len(text) for texts in ANSWERS.values() for text in texts]
    mean = sum(lengths) / len(lengths)
    assert result.tokens == {"generated": sum(lengths), "mean": pytest.approx(mean), "cut": 0}
    assert result.timing["tokens_generated"] == len("pass d")
    assert bench.run(k=(2,)).timing == result.timing
    assert result.mode == "sampled"


def test_greedy_asks_once(bench: Bench) -> None:
    """Temperature 0 asks once unless told otherwise, which is refused; the result says so."""
    generation = {
        "engine": "offline", "script": str(bench.folder / "script.jsonl"), "temperature": 0,
    }  # fmt: skip
    values = {"generation": generation, "verifier": {"type": "fake"}}
    config = BenchmarkConfig.model_validate({**values, "prompts": str(bench.prompts)})
    assert (config.samples, config.budgets) == (1, (1,))
    settled = config.model_copy(update={"k": config.budgets})
    assert BenchmarkConfig.model_validate(settled.model_dump(mode="json")) == settled
    with pytest.raises(ValidationError, match="temperature 0 gives the same answer every time"):
        BenchmarkConfig.model_validate({**values, "samples": 2, "k": (1,)})
    result = bench.run(generation=generation, samples=1, k=(1,))
    assert (result.mode, result.samples_per_prompt) == ("greedy", 1)


def test_every_answer_is_kept(bench: Bench) -> None:
    """`samples.jsonl` holds every answer with its verdict, `result.json` what was returned."""
    result = bench.run()
    assert json.loads((bench.output / "result.json").read_text()) == json.loads(
        json.dumps(result.to_dict())
    )
    records = bench.records()
    assert set(records) == {f"{name}#{i}" for name in ANSWERS for i in range(4)}
    for record in records.values():
        answer = ANSWERS[record["prompt_id"]][record["index"]]
        assert record["completion"] == answer
        assert record["success"] is answer.startswith("pass")
        assert record["policy"] == "a-model"
        assert record["metadata"]["hidden_total"] == 1
    tokens = sum(len(text) for texts in ANSWERS.values() for text in texts)
    assert result.timing["tokens_generated"] == tokens
    assert result.timing["total_seconds"] >= result.timing["generation_seconds"] >= 0


def test_again_generates_nothing(bench: Bench) -> None:
    """The same command again opens no engine, keeps every answer and finds the same figures."""
    first = bench.run()
    before = tree(bench.output)
    bench.opened.clear()
    bench.judging = lambda sample: pytest.fail(f"{sample.id} was judged again")
    again = bench.run()
    assert bench.opened == []
    assert (again.pass_at_k, again.by_category) == (first.pass_at_k, first.by_category)
    after = tree(bench.output)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed <= {"run.json", "result.json"}


def test_goes_on_after_a_fault(bench: Bench) -> None:
    """What was judged before a fault stays; then only the rest is generated and judged."""

    def broken(sample: Sample) -> None:
        if sample.id in {"max#1", "wc#3"}:
            raise VerifierFault("the disk is full")

    bench.judging = broken
    with pytest.raises(VerifierFault, match="2 of the answers could not be judged"):
        bench.run()
    assert len(bench.records()) == 10
    assert not (bench.output / "result.json").exists()
    judged: list[str] = []
    bench.judging = lambda sample: judged.append(sample.id)
    result = bench.run()
    assert sorted(judged) == ["max#1", "wc#3"]
    assert result.pass_at_k["1"]["mean"] == pytest.approx((2 / 4 + 0 + 1) / 3)


def test_other_k_from_the_same_answers(bench: Bench) -> None:
    """Another k is another question to the same answers."""
    bench.run()
    bench.opened.clear()
    result = bench.run(k=(3,))
    assert bench.opened == []
    expected = sum(pass_at_k(4, c, 3) for c in PASSED.values()) / 3
    assert result.pass_at_k == {"3": pytest.approx(result.pass_at_k["3"])}
    assert result.pass_at_k["3"]["mean"] == pytest.approx(expected)


def test_k_above_the_samples_is_refused(bench: Bench) -> None:
    """A budget that the answers cannot estimate is refused before anything is done."""
    with pytest.raises(ValidationError, match="k = 5 needs at least 5 samples a prompt"):
        bench.run(k=(1, 5))
    assert not bench.output.exists()


def test_an_adaptive_budget_is_refused(bench: Bench) -> None:
    """To stop when answers pass would raise pass@k."""
    with pytest.raises(ValidationError, match="pass@k needs the same number of samples"):
        bench.run(generation={"engine": "offline", "sampling": "adaptive"})
    assert not bench.output.exists()


def test_a_served_model_is_known_by_its_name(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights are looked for; another address is another model, another key or pace is not."""
    monkeypatch.setitem(sys.modules, "halo_forge.models.checkpoint", None)
    generation = {"engine": "offline", "script": str(bench.folder / "script.jsonl")}

    def served(**server: Any) -> dict[str, Any]:
        return {**generation, "server": {"base_url": "http://here/v1", **server}}

    bench.run(generation=served())
    bench.run(generation=served(api_key_env="KEY", concurrency=2, retries=1, timeout=3))
    with pytest.raises(UserError, match=r"generation\.server\.base_url: 'http://here/v1' then"):
        bench.run(generation=served(base_url="http://there/v1"))
    with pytest.raises(UserError, match=r"model\.content: 'a-model of a server' then"):
        bench.run(generation=served(), model={"name": "another"})
    with pytest.raises(UserError, match=r"base_model .* a server does not say"):
        bench.run(generation=served(), base_model="builtin:smollm2-135m")


def test_another_base_is_refused_before_anything_is_made(bench: Bench, tmp_path: Path) -> None:
    """The demanded base must be the adapter's own."""
    for name in ("base", "other", "adapter"):
        (tmp_path / name).mkdir()
    written = json.dumps({"base_model_name_or_path": "../base"})
    (tmp_path / "adapter" / "adapter_config.json").write_text(written)
    model = {"name": str(tmp_path / "adapter")}
    with pytest.raises(UserError, match=r"belong to the base model .*base, not to .*other"):
        bench.run(model=model, base_model=str(tmp_path / "other"))
    assert not bench.output.exists()
    assert bench.run(model=model, base_model=str(tmp_path / "base")).prompts == 3


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"samples": 5, "k": (1,)}, "samples: 4 then, 5 now"),
        ({"model": {"name": "another"}}, "model.content: 'digest of a-model' then"),
        ({"verifier": {"type": "fake", "options": {"bonus": 0.5}}}, "verifier.fingerprint: "),
        ({"max_prompts": 2}, "prompts.content: "),
        ({"seed": 3}, "seed: 0 then, 3 now"),
    ],
)
def test_other_settings_are_refused_by_name(
    bench: Bench, changes: dict[str, Any], key: str
) -> None:
    """Answers of one benchmark never count for another."""
    bench.run()
    before = tree(bench.output)
    with pytest.raises(UserError, match="made with other settings") as caught:
        bench.run(**changes)
    assert f"  {key}" in str(caught.value)
    assert tree(bench.output) == before


def test_first_prompts_only(bench: Bench) -> None:
    """`max_prompts` takes them from the top of the file."""
    result = bench.run(max_prompts=1)
    assert result.prompts == 1
    assert set(bench.records()) == {f"sum#{i}" for i in range(4)}
    # one problem with a half of its answers right says next to nothing of others
    assert result.pass_at_k["1"] == pytest.approx(
        {"mean": 0.5, "low": 0.0125, "high": 0.9875, "units": 1}
    )


def test_engine_is_opened_as_asked(bench: Bench) -> None:
    """The engine gets the model, the sampling settings and the device."""
    bench.run(hardware={"device": "cpu"})
    (spec,) = bench.opened
    assert (spec.policy, spec.label, spec.hardware.device) == ("a-model", "a-model", "cpu")
    assert spec.generation.script == str(bench.folder / "script.jsonl")
