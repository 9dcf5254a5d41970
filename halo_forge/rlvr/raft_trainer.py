"""`RAFTTrainer`: from settings to collaborators to the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from halo_forge.config.load import dump_yaml
from halo_forge.config.raft import RaftConfig
from halo_forge.core import registry
from halo_forge.core.errors import UserError
from halo_forge.core.identity import digest
from halo_forge.core.types import Prompt
from halo_forge.data.prompts import prompts_digest, write_prompts
from halo_forge.engines.base import Engine, EngineSpec, open_engine
from halo_forge.engines.isolated import IsolatedEngine
from halo_forge.models.kept import BaseKeeper
from halo_forge.models.profile import isolates, prepare
from halo_forge.rlvr.card import describe
from halo_forge.rlvr.cycle import Collaborators, run_cycles
from halo_forge.rlvr.history import pass_rates
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.material import Material, read_material
from halo_forge.rlvr.replay import replayed
from halo_forge.rlvr.sharing import borrow
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.sft.attempt import attempt_facts, log_file, open_trackers
from halo_forge.sft.base import Learner
from halo_forge.store.atomic import disk_errors
from halo_forge.store.run_dir import RunDir
from halo_forge.tracking.base import NullObserver, Observer

__all__ = ["RAFTTrainer"]

_LOADS_WEIGHTS = "transformers"


class RAFTTrainer:
    """Trains a model on its own verified answers, cycle by cycle.

    Args:
        config: Everything the run depends on.
        observer: Shows the progress; silent when absent.
        fork: Start a new run in this directory from the last complete checkpoint of the run in
            ``config.output_dir``, with the settings of ``config``.
        twin: A run directory whose first answers this run may take over, where they are the same.
    """

    def __init__(
        self,
        config: RaftConfig,
        *,
        observer: Observer | None = None,
        fork: Path | None = None,
        twin: Path | None = None,
    ) -> None:
        self._twin = twin
        self._config, self._source = replayed(_forked(config, fork) if fork is not None else config)
        self._observer: Observer = observer or NullObserver()

    def train(self) -> list[dict[str, Any]]:
        """Do what is owed of the run and return the records of its cycles.

        Raises:
            UserError: If an input is wrong, or the run directory belongs to other settings.
            CheckFailed: If a cycle has too few answers worth training on.
            Fault: If the machine or the disk lets us down; the same command goes on later.
        """
        config, source = self._config, self._source
        prepare(config.hardware)
        material = read_material(config)
        prompts, eval_prompts = material.prompts, material.heldout
        run = RunDir(Path(config.output_dir))
        start = config.sft_checkpoint or config.model.name
        rates = pass_rates(config.curriculum.history)
        if rates and not any(prompt.id in rates for prompt in prompts):
            raise UserError(
                f"curriculum.history: none of the {len(prompts)} training prompts was asked in "
                f"{', '.join(config.curriculum.history)}, so no pass rate is known"
            )
        with ExitStack() as stack:
            verifier = stack.enter_context(
                make_verifier(config.verifier, score_hidden=config.evaluation.hidden_tests)
            )
            verifier.start([*prompts, *eval_prompts])
            keeper = BaseKeeper()
            stack.callback(keeper.release)
            learner = _learner(None if isolates(config.hardware) else keeper)
            self._check_parts(start, learner)
            guarded = self._guarded(start, verifier, prompts, eval_prompts)
            if rates:
                guarded["curriculum.history"] = digest(rates)
            if source is not None:
                source.check(config, guarded)
            stack.enter_context(run.lock())
            self._claim(run, guarded, material)
            if source is not None:
                source.bring_baseline(run, guarded)
            if self._twin is not None and borrow(run, RunDir(self._twin), guarded):
                self._observer.message(
                    f"The first answers are those of {self._twin}: same policy, prompts and seeds"
                )
            stack.enter_context(log_file(run))
            crew = Collaborators(
                config=config,
                run=run,
                prompts=prompts,
                eval_prompts=eval_prompts,
                open_engine=partial(self._open_engine, keeper=keeper),
                verifier=verifier,
                examiner=verifier,
                learner=learner,
                trackers=stack.enter_context(open_trackers(config.report_to, run)),
                observer=self._observer,
                describe=partial(describe, run, config, start),
                source=source,
                earlier_rates=rates,
            )
            run_cycles(crew, start)
        return run.read_statistics()

    def _open_engine(
        self, policy: str, label: str, temperature: float, keeper: BaseKeeper | None = None
    ) -> Engine:
        config = self._config
        spec = EngineSpec(
            policy=policy,
            generation=config.generation.model_copy(update={"temperature": temperature}),
            hardware=config.hardware,
            trust_remote_code=config.model.trust_remote_code,
            label=label,
            for_training=True,
            keeper=keeper,
            images=config.images,
        )
        engine = open_engine(spec)  # also where it is not used: it refuses what it cannot do
        heavy = config.generation.engine == _LOADS_WEIGHTS
        return IsolatedEngine(spec) if heavy and isolates(config.hardware) else engine

    def _check_parts(self, start: str, learner: Learner) -> None:
        """Find a wrong name before there is a run directory rather than after an hour."""
        from halo_forge.models import load
        from halo_forge.models.weights import is_adapter

        config = self._config
        self._open_engine(start, "", config.generation.temperature)
        load.pick_device(config.hardware.device)
        for name in config.report_to:
            registry.load("trackers", name)
        learner.check(start, config.lora, trust_remote_code=config.model.trust_remote_code)
        if config.raft.kl_coef and is_adapter(load.resolve(start)):
            raise UserError(
                f"raft.kl_coef: {start} is an adapter itself, so the model with its adapter off is "
                "not the start model. Start from whole weights, or leave kl_coef at 0."
            )

    def _guarded(
        self,
        start: str,
        verifier: Verifier,
        prompts: Sequence[Prompt],
        eval_prompts: Sequence[Prompt],
    ) -> dict[str, Any]:
        """Return everything a result depends on, by dotted key."""
        from halo_forge.models.checkpoint import model_digest

        return {
            **self._config.guarded(),
            **({} if self._source is None else {"replay.content": self._source.content}),
            "model.content": model_digest(start),
            "prompts.content": prompts_digest(prompts),
            "eval_prompts.content": prompts_digest(eval_prompts),
            "verifier.fingerprint": verifier.fingerprint(),
        }

    def _claim(
        self,
        run: RunDir,
        guarded: Mapping[str, Any],
        material: Material,
    ) -> None:
        """Make the directory this run's own, and note the machine and what was not trained on."""
        facts = attempt_facts(run, self._config.hardware)
        if material.decontamination:
            facts["decontamination"] = material.decontamination
        run.claim(guarded, facts, dump_yaml(self._config))
        with disk_errors(run.path):
            write_prompts(run.prompts_path, material.prompts)
            write_prompts(run.eval_prompts_path, material.heldout)


def _forked(config: RaftConfig, fork: Path) -> RaftConfig:
    """Return the settings of a new run that starts where the old one is."""
    if config.replay is not None:
        raise UserError("--fork and replay: a replay starts where the run that it replays did")
    old = RunDir(Path(config.output_dir))
    if old.read_info() is None:
        raise UserError(f"--fork: {old.path} is not a run directory to fork from")
    if fork.resolve() == old.path.resolve():
        raise UserError(f"--fork: {fork} is the run itself; choose another directory")
    done = old.last_complete
    start = str(old.checkpoint_path(done)) if done else config.sft_checkpoint
    return config.model_copy(update={"output_dir": str(fork), "sft_checkpoint": start})


def _learner(keeper: BaseKeeper | None) -> Learner:
    """Return a learner of this process that is lent the base model, or one of its own process."""
    from halo_forge.sft.isolated import IsolatedLearner
    from halo_forge.sft.learner import TrlLearner

    return IsolatedLearner() if keeper is None else TrlLearner(keeper)
