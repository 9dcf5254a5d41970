"""What a token of a rollout costs: ours, `generate`, `generate_batch` and llama.cpp on one job.

    python bench/rollout.py [--model builtin:smollm2-135m] [--prompts 16] [--samples 8]
        [--max-new-tokens 96] [--rounds 2] [--rows 64] [--bf16] [--only NAME ...]
        [--gguf FILE] [--json FILE]

Built-in training prompts, answered so many times each, until they end by themselves or reach the
limit; every way takes its turn in each round. Two laws: temperature 0.7, and the same with top-k 50
(the default of `generate`) and top-p 0.95. `generate` works as people use it, eight prompts at a
time, padded on the left, all samples of a prompt by `num_return_sequences`. `batch` is
`generate_batch` of transformers; `llama.cpp` needs xllamacpp and --gguf, a file of the same model:
its weights are those of the file, so its tokens are counted and not tested. --bf16 takes bfloat16
for all even where the processor only emulates it. Prints tokens a second, ratios with their spread,
the fraction of the roofline of this machine, measured in the same run, and whether ours and
`generate` follow the same law. Small trial: --prompts 4 --samples 4 --max-new-tokens 24.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import law as laws
import torch
from least import Answer, answers_work
from measure import Measured, Spread, as_commands_run, interleave
from results import write_result

from halo_forge.config.sections import GenerationSettings, HardwareSettings
from halo_forge.core.types import Prompt
from halo_forge.data.prompts import load_prompts
from halo_forge.engines.base import EngineSpec, Request
from halo_forge.engines.decoder import DecoderEngine
from halo_forge.engines.sampling import Law
from halo_forge.models import chat, load
from halo_forge.models.roofline import Rates
from halo_forge.models.shape import shape_of
from halo_forge.models.speed import measure_rates
from halo_forge.utils.hardware import probe

__all__ = ["main"]

_LAWS = {"plain": Law(0.7), "top-p": Law(0.7, top_k=50, top_p=0.95)}
_AIMS = {"generate plain": 3, "generate top-p": 4, "batch plain": 1}
_TOGETHER = 8
_TESTED = 48


@dataclass
class _Job:
    model: Any
    tokenizer: Any
    stops: list[int]
    prompts: list[Prompt]
    options: argparse.Namespace
    seed: int = 0

    def ids(self) -> list[list[int]]:
        return [chat.render(self.tokenizer, prompt.messages) for prompt in self.prompts]

    def next_seed(self) -> int:
        self.seed += 1
        return self.seed

    def settings(self, law: Law) -> dict[str, Any]:
        """What `generate` is told."""
        return {
            "do_sample": True,
            "temperature": law.temperature,
            "top_k": law.top_k,
            "top_p": law.top_p,
            "max_new_tokens": self.options.max_new_tokens,
            "eos_token_id": self.stops,
            "pad_token_id": self.tokenizer.pad_token_id,
        }

    def cut(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Return an answer up to its end token."""
        end = next((i + 1 for i, token in enumerate(tokens) if token in self.stops), len(tokens))
        return tuple(tokens[:end])


def _ours(job: _Job, engine: DecoderEngine) -> list[Answer]:
    requests = [Request(prompt, tuple(range(job.options.samples))) for prompt in job.prompts]
    found = engine.generate(requests, job.next_seed())
    return [(sample.prompt_ids, sample.token_ids) for sample in found]


def _generate(job: _Job, law: Law) -> list[Answer]:
    torch.manual_seed(job.next_seed())
    answers: list[Answer] = []
    ids = job.ids()
    for start in range(0, len(ids), _TOGETHER):
        group = ids[start : start + _TOGETHER]
        batch = job.tokenizer.pad({"input_ids": group}, padding_side="left", return_tensors="pt")
        whole = job.model.generate(
            **batch.to(job.model.device),
            **job.settings(law),
            num_return_sequences=job.options.samples,
        )
        for i, row in enumerate(whole[:, batch["input_ids"].shape[1] :].tolist()):
            answers.append((tuple(group[i // job.options.samples]), job.cut(row)))
    return answers


def _batch(job: _Job, law: Law) -> list[Answer]:
    from transformers import ContinuousBatchingConfig, GenerationConfig

    config = GenerationConfig(**job.settings(law), num_return_sequences=job.options.samples)
    how = ContinuousBatchingConfig(
        max_memory_percent=0.2, auto_switch_to_flash=False, seed=job.next_seed()
    )
    found = job.model.generate_batch(
        job.ids(), generation_config=config, continuous_batching_config=how
    )
    answers = [(tuple(one.prompt_ids), job.cut(one.generated_tokens)) for one in found.values()]
    wanted = len(job.prompts) * job.options.samples
    if len(answers) != wanted:  # it keeps its errors to itself
        raise RuntimeError(f"generate_batch returned {len(answers)} of {wanted} answers")
    return answers


def _llama_server(options: argparse.Namespace) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(options.gguf)
    params.n_parallel = 16
    params.n_ctx = params.n_parallel * (512 + options.max_new_tokens)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = probe().cpu.cores
    params.warmup = True
    return xllamacpp.Server(params)


def _llama(job: _Job, server: Any, law: Law) -> list[Answer]:
    def ask(ids: list[int], seed: int) -> Answer:
        said = server.handle_completions(
            {
                "prompt": ids,
                "max_tokens": job.options.max_new_tokens,
                "temperature": law.temperature,
                "top_k": law.top_k,
                "top_p": law.top_p,
                "min_p": 0.0,
                "repeat_penalty": 1.0,
                "seed": seed,
                "cache_prompt": True,
            }
        )
        answer = json.loads(said) if isinstance(said, str) else said
        return tuple(ids), tuple(range(answer["usage"]["completion_tokens"]))

    with ThreadPoolExecutor(16) as pool:
        jobs = [
            pool.submit(ask, ids, job.next_seed())
            for ids in job.ids()
            for _ in range(job.options.samples)
        ]
        return [one.result() for one in jobs]


def _least_seconds(job: _Job, answers: Sequence[Answer], rates: Rates) -> float:
    """Return the time below which this machine cannot do it: each prompt once, each token once."""
    shape = shape_of(job.options.model)
    size = job.model.dtype.itemsize
    return answers_work(shape, answers, job.options.rows, size).seconds(rates)


def _tokens(answers: Sequence[Answer]) -> int:
    return sum(len(answer) for _, answer in answers)


def _speed(measured: Measured[list[Answer]]) -> list[float]:
    pairs = zip(measured.wall, measured.results, strict=True)
    return [_tokens(answers) / wall for wall, answers in pairs]


def _cpu_a_token(measured: Measured[list[Answer]]) -> list[float]:
    pairs = zip(measured.cpu, measured.results, strict=True)
    return [cpu / _tokens(answers) for cpu, answers in pairs]


def _law_test(job: _Job, found: dict[str, Measured[list[Answer]]], name: str) -> dict[str, float]:
    """Return p-values: each way follows its law, both the same one, and a wrong one shows."""
    rule, series = _LAWS[name], {}
    for seed, way in enumerate((f"ours {name}", f"generate {name}")):
        answers = [one for round_ in found[way].results for one in round_]
        picked = answers[:: max(1, len(answers) // _TESTED)]
        series[way] = laws.places(job.model, picked, rule, seed)
    wrong = Law(rule.temperature * 1.2, rule.top_k, rule.top_p)
    ours, theirs = series.values()
    return {
        "tokens": len(ours),
        "ours": laws.uniform(ours),
        "generate": laws.uniform(theirs),
        "both": laws.same_law(ours, theirs),
        "generate at 1.2 times the temperature": laws.uniform(
            laws.places(job.model, picked, wrong, seed=1)
        ),
    }


def _open(job: _Job, law: Law) -> DecoderEngine:
    options = job.options
    generation = GenerationSettings(
        max_new_tokens=options.max_new_tokens,
        batch_size=options.rows,
        **{key: value for key, value in asdict(law).items() if value or key == "temperature"},
    )
    hardware = HardwareSettings(device=job.model.device.type, bf16=options.bf16)
    return DecoderEngine(EngineSpec(options.model, generation, hardware))


def _ways(job: _Job, stack: Any) -> dict[str, Callable[[], list[Answer]]]:
    ways: dict[str, Callable[[], list[Answer]]] = {}
    for name, rule in _LAWS.items():
        engine = stack.enter_context(_open(job, rule))
        ways[f"ours {name}"] = lambda engine=engine: _ours(job, engine)
        ways[f"generate {name}"] = lambda rule=rule: _generate(job, rule)
    ways["batch plain"] = lambda: _batch(job, _LAWS["plain"])
    if job.options.gguf and importlib.util.find_spec("xllamacpp"):
        server = _llama_server(job.options)
        ways["llama.cpp plain"] = lambda: _llama(job, server, _LAWS["plain"])
    wanted = job.options.only
    return {name: _told(name, way) for name, way in ways.items() if not wanted or name in wanted}


def _told(name: str, way: Callable[[], list[Answer]]) -> Callable[[], list[Answer]]:
    """Say what each turn took, as it ends: a run is minutes long."""

    def work() -> list[Answer]:
        started = time.perf_counter()
        answers = way()
        wall, tokens = time.perf_counter() - started, _tokens(answers)
        print(f"  {name}: {wall:.1f} s, {tokens} tokens, {tokens / wall:.0f} a second", flush=True)
        return answers

    return work


def _report(job: _Job, found: dict[str, Measured[list[Answer]]]) -> dict[str, Any]:
    rates = measure_rates(job.model.dtype, job.model.device)
    print(
        f"matrix products {rates.flops / 1e9:.0f} GFLOP/s, reading {rates.reading / 1e9:.1f} GB/s"
    )
    result: dict[str, Any] = {"rates": asdict(rates), "ways": {}}
    for name, measured in found.items():
        least = [_least_seconds(job, one, rates) for one in measured.results]
        share = Spread.of([a / b for a, b in zip(least, measured.wall, strict=True)])
        speed = _speed(measured)
        lengths = [len(answer) for one in measured.results for _, answer in one]
        row = {
            "wall": measured.wall,
            "cpu": measured.cpu,
            "tokens": [_tokens(one) for one in measured.results],
            "mean_length": statistics.mean(lengths),
            "fraction_of_roofline": asdict(share),
        }
        ours = found.get(f"ours {name.split()[-1]}")
        note = ""
        if ours is not None and ours is not measured:
            ratio = Spread.of([a / b for a, b in zip(_speed(ours), speed, strict=True)])
            cpu = Spread.of(
                [a / b for a, b in zip(_cpu_a_token(measured), _cpu_a_token(ours), strict=True)]
            )
            row |= {"ours_times_as_fast": asdict(ratio), "cpu_times_of_ours": asdict(cpu)}
            note = f"; ours is {ratio:.2f} times as fast, by CPU seconds {cpu:.2f}"
        result["ways"][name] = row
        print(
            f"{name:16} {Spread.of(speed):.0f} tokens/s, {Spread.of(measured.wall):.1f} s, "
            f"mean length {row['mean_length']:.0f}, {share:.0%} of the roofline{note}"
        )
    result["laws"] = {}
    for name in _LAWS:
        if f"ours {name}" in found and f"generate {name}" in found:
            tested = _law_test(job, found, name)
            result["laws"][name] = tested
            print(f"same law, {name}:", {key: round(value, 4) for key, value in tested.items()})
    return result


def _claims(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield how many times as fast ours is as each other way."""
    for name, way in result["ways"].items():
        if "ours_times_as_fast" in way:
            ours = result["ways"][f"ours {name.split()[-1]}"]
            yield {
                "name": f"tokens a second, ours over {name}",
                "value": way["ours_times_as_fast"],
                "aim": _AIMS.get(name),
                "roofline": ours["fraction_of_roofline"],
                "limit": "rollout",
            }


def main() -> None:
    """Let every way do the job in turns and print what they cost."""
    as_commands_run()
    from contextlib import ExitStack

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="builtin:smollm2-135m")
    for name, default in (
        ("prompts", 16),
        ("samples", 8),
        ("max-new-tokens", 96),
        ("rounds", 2),
        ("rows", 64),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = load.pick_device(options.device)
    if options.bf16:
        load.pick_dtype = lambda *_: torch.bfloat16  # emulated too, for all ways alike
    dtype = load.pick_dtype(device.type != "cpu" or options.bf16, device)
    model = load.load_model(options.model, dtype=dtype, device=device).eval()
    tokenizer = load.load_tokenizer(options.model)
    stops = list(chat.stop_ids(tokenizer, model.generation_config))
    prompts = list(load_prompts("builtin:cpp/train"))[: options.prompts]
    job = _Job(model, tokenizer, stops, prompts, options)
    machine = probe()
    print(
        f"{machine.cpu.model}, {machine.cpu.cores} cores, torch {torch.__version__}, {dtype}, "
        f"{len(prompts)} prompts x {options.samples}, at most {options.max_new_tokens} tokens"
    )
    with ExitStack() as stack:
        ways = _ways(job, stack)
        found = interleave(ways, options.rounds)
        result = _report(job, found)
    if options.json is not None:
        kept = {key: str(value) for key, value in vars(options).items()}
        head = {"options": kept, "dtype": str(dtype)}
        write_result(options.json, list(_claims(result)), head | result)


if __name__ == "__main__":
    main()
