"""The model card of a cycle's checkpoint: from what, judged by whom, with what result."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from halo_forge.config.load import load_config
from halo_forge.config.raft import LoopSettings, RaftConfig
from halo_forge.core.identity import digest
from halo_forge.data.builtin import PREFIX
from halo_forge.rlvr.controls import MEANINGS
from halo_forge.rlvr.schedule import temperature
from halo_forge.rlvr.statistics import RATES
from halo_forge.sft.card import card_head, file_origin
from halo_forge.store.atomic import write_text
from halo_forge.store.run_dir import RunDir

__all__ = ["describe"]

_CARD = """\

## How

Cycle {cycle} of {algorithm}: {samples} to each prompt at temperature {temperature:g}{whose},
judged by `{verifier}`; {chosen}, in this cycle {kept}. Seed {seed}; run `{run}`.

Verifier: `{fingerprint}`.

## Data

{data}

The model learnt from {taught}; tests and reference solutions were never shown to it.

## Result

{result}

## Intended use

Tasks like those of the prompts, by people or programs that check each answer before they use it:
run model code in a sandbox only. Other tasks and languages were not measured.

## What the verifier does not guarantee

That an answer passed says that one program gave the expected outputs on some inputs, under one
toolchain. It does not say that the program is right on other inputs, safe, fast, or free of other
people's code. Rates that rise may come from practice at the form of answers, or from weak tests;
where hidden tests were scored, their rate stands above.
"""
_ALGORITHMS = {
    "raft": "reward-ranked fine-tuning (Dong et al. 2023, arXiv:2304.06767)",
    "raft++": "RAFT++ (Xiong et al. 2025, arXiv:2504.11343)",
    "reinforce-rej": "Reinforce-Rej (Xiong et al. 2025, arXiv:2504.11343)",
}
_WORDS = {
    "compile_rate": "compiles",
    "pass_rate": "passes every test",
    "hidden_pass_rate": "passes hidden tests too",
}


def describe(run: RunDir, config: RaftConfig, start: str, cycle: int) -> None:
    """Write the card of a cycle's checkpoint as far as its figures are known; the same, not again.

    Raises:
        StoreFault: If the disk refuses.
    """
    text = _card(run, config, start, cycle)
    path = run.card_path(cycle)
    if not path.is_file() or path.read_text("utf-8") != text:
        write_text(path, text)


def _card(run: RunDir, config: RaftConfig, start: str, cycle: int) -> str:
    guarded: Mapping[str, Any] = (run.read_info() or {}).get("guarded", {})
    records = [record for record in run.read_statistics() if record["cycle"] <= cycle]
    loop = config.raft
    last: Mapping[str, Any] = records[-1] if records else {}
    return _head(start, config.lora.enabled) + _CARD.format(
        cycle=cycle,
        algorithm=_ALGORITHMS[loop.algorithm],
        samples=_answers(config),
        whose=", given in another run" if config.replay else "",
        taught="answers that are its own or another run's" if config.replay else "its own answers",
        temperature=temperature(config.generation.temperature, loop, cycle),
        verifier=config.verifier.type,
        chosen=_chosen(loop, last),
        kept=last.get("kept", "those that are noted in the run"),
        seed=config.seed,
        run=digest([dict(guarded)])[:16],
        fingerprint=guarded.get("verifier.fingerprint", "not noted"),
        data="\n".join(_data(config)),
        result=_result(records),
    )


def _answers(config: RaftConfig) -> str:
    """Say how many answers a prompt was given."""
    most = config.raft.samples_per_prompt
    return f"{most} answers" if config.generation.sampling == "fixed" else f"up to {most} answers"


def _chosen(loop: LoopSettings, record: Mapping[str, Any]) -> str:
    """Say which answers were trained on."""
    if loop.control != "none":
        return f"this is a control, not a verified run: {MEANINGS[loop.control]}"
    threshold = record.get("effective_threshold", loop.reward_threshold)
    if loop.algorithm == "reinforce-rej":
        return (
            "of prompts whose answers were neither all good nor all bad, the best with a reward of "
            f"{threshold:g} or more were made likelier and the others less likely"
        )
    keep = record.get("effective_keep", loop.keep_top_percent)
    return (
        f"of a prompt's answers with a reward of {threshold:g} or more the best {keep:.0%} were "
        "trained on"
    )


@functools.cache
def _head(start: str, adapters: bool) -> str:
    """Return the head; a hub is asked once a run, for it may be slow to say that it is away."""
    return card_head(start, "RAFT on", "raft", adapters=adapters)


def _data(config: RaftConfig) -> list[str]:
    """Return a line for the training prompts, and one for those held out.

    Those of a replay are what the run took that it replays.
    """
    origin = config
    while origin.replay is not None:
        path = RunDir(Path(origin.replay)).config_path
        origin = load_config(RaftConfig, [path], {}).value
    heldout = origin.eval_prompts if config.eval_prompts else None
    lines = []
    for what, source in (("prompts", origin.prompts), ("held out", heldout)):
        if source is None:
            lines.append(f"- {what}: none")
        elif source.startswith(PREFIX):
            lines.append(f"- {what}: {source}, tasks that come with halo-forge, licence Apache-2.0")
        else:
            told = ", ".join(f"{key} {value}" for key, value in file_origin(source).items())
            lines.append(f"- {what}: {told}")
    return lines


def _result(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the held-out rates of all cycles so far as a table."""
    measured = [record for record in records if "heldout" in record]
    if not measured:
        return "No held-out tasks were measured."
    names = [name for name in RATES if name in measured[-1]["heldout"]]
    heads = ["before" if r["cycle"] == 0 else f"cycle {r['cycle']}" for r in measured]
    rows = [
        f"| {_WORDS[name]} | {' | '.join(_interval(r['heldout'].get(name)) for r in measured)} |"
        for name in names
    ]
    last = measured[-1]["heldout"]
    return "\n".join(
        [
            f"{last[names[0]]['units']} held-out tasks, {last['samples']} answers, 95 % intervals "
            "over tasks:\n",
            f"| | {' | '.join(heads)} |",
            f"|---|{'---|' * len(heads)}",
            *rows,
        ]
    )


def _interval(rate: Mapping[str, float] | None) -> str:
    if rate is None:  # no answer came as far as the hidden tests
        return "-"
    return f"{rate['mean']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"
