"""`halo-forge data generate`: ask an LLM for tasks, keep only those that prove themselves.

Answers are owed until they are in a journal on disk; checks are owed until theirs is. So there is
no resume path: a killed run goes on where it was, and no answer that is on disk is asked for
again. What judges is a parameter, because verifiers live above this floor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from halo_forge import __version__
from halo_forge.config.generate import GenerateConfig, TopicConfig
from halo_forge.core.errors import HaloForgeError, UserError, VerifierFault
from halo_forge.core.identity import content_id, digest
from halo_forge.core.types import Sample, Verdict
from halo_forge.data.llm.answers import RejectedError, parse_item
from halo_forge.data.llm.budget import Budget, Spent
from halo_forge.data.llm.checks import Trial, evidence, item_prompt, trial_of
from halo_forge.data.llm.estimates import cost_of
from halo_forge.data.llm.journal import (
    Answers,
    Limits,
    answer_key,
    answer_record,
    spent_on,
    tokens_of,
)
from halo_forge.data.llm.pace import Pace
from halo_forge.data.llm.requests import ItemRequest, parameters, plan_requests
from halo_forge.data.llm.results import Entry, assemble, write_results
from halo_forge.engines.chat_server import ChatServer, Question
from halo_forge.store.generation_dir import GenerationDir
from halo_forge.store.records import Journal
from halo_forge.tracking.base import Observer, Stage

__all__ = ["Judge", "Summary", "generate", "require_server"]

_Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges items.

    Attributes:
        judge: Judges samples as they come and gives a verdict for each, in any order.
        name: What verdicts depend on beside the samples, such as compilers and limits.
    """

    judge: Callable[[Iterable[Sample]], Iterator[Verdict]]
    name: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a call came to.

    Attributes:
        folder: Where the files are.
        requests: Requests of the plan.
        answered: Answers on disk.
        verified: Items written as data.
        rejects: How many answers were rejected for which reason.
        spent: What all answers in the folder took.
        cost: Of that, if prices are known.
        out_of_budget: Requests are owed that the budget did not let through.
    """

    folder: Path
    requests: int
    answered: int
    verified: int
    rejects: dict[str, int]
    spent: Spent
    cost: float | None
    out_of_budget: bool


def generate(
    topic: TopicConfig,
    config: GenerateConfig,
    judging: AbstractContextManager[Judge],
    observer: Observer,
) -> Summary:
    """Do what is owed of a topic, and write its files.

    The judge is made ready before anything is asked: a missing compiler must not cost money.
    When the server stops answering, or the judge breaks, what was answered and judged by then is
    written all the same, before the error is raised.

    Raises:
        UserError: If an input is wrong: no model, no address, no key, an unknown model.
        ModelFault: If the server does not answer; the same command goes on later.
        VerifierFault: If items could not be judged; they stay owed.
        StoreFault: If the disk refuses.
    """
    require_server(config)
    folder = GenerationDir.of(config.output_dir, topic.name)
    requests = plan_requests(topic, config)
    with (
        folder.lock(),
        Journal(folder.answers_path, answer_key, sync_every=1) as answers,
        Journal(folder.checks_path, lambda record: str(record["key"])) as checks,
    ):
        run = _Run(topic, config, requests, answers, checks)
        with judging as judge:
            run.work(judge, observer)
        if run.broken is not None and not run.entries():
            raise run.broken
        results = assemble(run.entries(), topic)
        summary = Summary(
            folder=folder.path,
            requests=len(requests),
            answered=run.answered,
            verified=len(results.prompts),
            rejects=results.reasons,
            spent=run.budget.spent,
            cost=cost_of(run.budget.spent.read, run.budget.spent.written, config),
            out_of_budget=run.broken is None and run.answered < len(requests),
        )
        write_results(folder, results, _facts(topic, config, judge, summary))
    if run.broken is not None:
        raise run.broken
    if run.faults:
        raise VerifierFault(
            f"{len(run.faults)} items could not be judged, and stay owed; the first: "
            f"{run.faults[0]}. Mend it and give the same command again: nothing is asked twice."
        )
    return summary


class _Run:
    """One attempt: asks what is owed, judges as answers come, keeps journals.

    Attributes:
        budget: What is spent.
        faults: Why items could not be judged.
        broken: What ended the asking early.
    """

    def __init__(
        self,
        topic: TopicConfig,
        config: GenerateConfig,
        requests: Sequence[ItemRequest],
        answers: Journal,
        checks: Journal,
    ) -> None:
        self._topic, self._config = topic, config
        self._requests = requests
        self._journal, self._checks = answers, checks
        self._answers = Answers(answers.records.values(), config)
        self._owed = [one for one in requests if self._answers.of(one) is None]
        self._judge_id = ""
        self._trials: dict[str, tuple[_Record, Trial]] = {}
        self._verdicts: dict[str, dict[str, Verdict]] = {}
        self.budget = Budget(config.budget, spent_on(answers.records.values()))
        self._server = self._new_server()
        self._pace = Pace(config.generation.requests_per_minute)
        self.faults: list[str] = []
        self.broken: HaloForgeError | None = None

    @property
    def answered(self) -> int:
        """Requests of the plan whose answers are on disk."""
        return sum(self._answers.of(request) is not None for request in self._requests)

    def work(self, judge: Judge, observer: Observer) -> None:
        """Ask and judge until nothing is owed, or nothing more can be done."""
        checks = self._config.checks.model_dump(mode="json")
        self._judge_id = content_id([judge.name, checks])
        total, checked = len(self._requests), len(self.entries())
        with ExitStack() as stack:
            stage = partial(observer.stage, total=total, unit="items")
            asking = stack.enter_context(stage("ask", done=self.answered))
            judging = stack.enter_context(stage("verify", done=checked))
            # Closed at once when somebody interrupts: requests are under way in it.
            samples = stack.enter_context(closing(self._samples(asking, judging)))
            for verdict in judge.judge(samples):
                name = verdict.sample.prompt.id.rpartition("/")[0]
                self._verdicts.setdefault(name, {})[verdict.sample.id] = verdict
                self._settle(name, judging)

    def entries(self) -> list[Entry]:
        """Return what is answered and checked, in the order of the plan."""
        found = []
        for request in self._requests:
            answer = self._answers.of(request)
            if answer is not None and (key := self._check_key(answer)) in self._checks:
                found.append(Entry(request, answer, self._checks.records[key]))
        return found

    def _new_server(self) -> ChatServer | None:
        """Return the server to ask, not yet connected; None when there is nothing to ask."""
        limits = Limits(self._topic, self._config)
        if not self._owed or not self.budget.fits(sum(limits.of(self._owed[0]))):
            return None
        return _server_of(self._config)

    def _samples(self, asking: Stage, judging: Stage) -> Generator[Sample]:
        """Yield what is to be judged: answers on disk first, then those that come."""
        for request in self._requests:
            answer = self._answers.of(request)
            if answer is not None and self._check_key(answer) not in self._checks:
                yield from self._trial(request, answer, judging)
        if self._server is None:
            return
        try:
            for request, answer in self._asked(self._server):
                asking.advance()
                yield from self._trial(request, answer, judging)
        except HaloForgeError as error:
            self.broken = error

    def _asked(self, server: ChatServer) -> Iterator[tuple[ItemRequest, _Record]]:
        """Ask the server for what is owed, and put each answer into the journal as it comes."""
        limits = Limits(self._topic, self._config)
        with server:
            for request, reply in server.replies(self._questions(limits)):
                record = answer_record(request, reply, self._config, limits.of(request))
                self._journal.append(record)
                self._answers.add(record)
                self.budget.settle(sum(limits.of(request)), *tokens_of(record))
                yield request, record

    def _questions(self, limits: Limits) -> Iterator[Question[ItemRequest] | None]:
        for request in self._owed:
            while not self.budget.reserve(sum(limits.of(request))):
                yield None  # answers under way may take less than was set aside for them
            self._pace.wait()
            yield Question(
                request,
                f"request {request.id}",
                parameters(request, self._topic, self._config),
            )

    def _trial(self, request: ItemRequest, answer: _Record, judging: Stage) -> Iterator[Sample]:
        """Yield the samples by which an answer is judged; one that is no item is a reject."""
        try:
            item = parse_item(answer["text"], answer["finish_reason"], self._topic)
            prompt = item_prompt(item, request, self._topic)
        except RejectedError as error:
            self._note(answer, error, {})
            judging.advance()
            return
        trial = trial_of(item, prompt, self._config.checks)
        self._trials[request.id] = answer, trial
        yield from trial.samples

    def _settle(self, name: str, judging: Stage) -> None:
        """Decide on an item when its last verdict is in."""
        answer, trial = self._trials[name]
        if len(self._verdicts[name]) < len(trial.samples):
            return
        try:
            self._note(answer, None, evidence(trial, self._verdicts[name], self._config.checks))
        except RejectedError as error:
            self._note(answer, error, {})
        except VerifierFault as error:
            self.faults.append(str(error))
        del self._trials[name], self._verdicts[name]
        judging.advance()

    def _note(self, answer: _Record, error: RejectedError | None, known: dict[str, Any]) -> None:
        self._checks.append(
            {
                "key": self._check_key(answer),
                "id": answer["id"],
                "reason": None if error is None else error.reason,
                "detail": None if error is None else error.detail,
                "evidence": known,
            }
        )

    def _check_key(self, answer: _Record) -> str:
        return f"{answer_key(answer)} {self._judge_id}"


def require_server(config: GenerateConfig) -> None:
    """See to it that it is said who is asked.

    Raises:
        UserError: If the model or the address is missing.
    """
    missing = [
        flag
        for flag, value in (
            ("--model NAME", config.model),
            ("--backend NAME or --base-url URL", config.generation.server.base_url),
        )
        if not value
    ]
    if missing:
        raise UserError(f"who is to be asked? Give {' and '.join(missing)}.")


def _server_of(config: GenerateConfig) -> ChatServer:
    assert config.model is not None
    if config.protocol == "anthropic":
        from halo_forge.engines.messages_server import MessagesServer

        return MessagesServer(config.generation.server, config.model)
    return ChatServer(config.generation.server, config.model)


def _facts(
    topic: TopicConfig, config: GenerateConfig, judge: Judge, summary: Summary
) -> dict[str, Any]:
    """Return what the manifest says of where the data comes from."""
    return {
        "halo_forge": __version__,
        "topic": topic.name,
        "topic_digest": digest(topic.model_dump(mode="json")),
        "model": config.model,
        "protocol": config.protocol,
        "base_url": config.generation.server.base_url,
        "licence": "made by a model: the terms of its provider and its licence apply",
        "judge": judge.name,
        "checks": config.checks.model_dump(mode="json"),
        "requests": summary.requests,
        "answered": summary.answered,
        "verified": summary.verified,
        "tokens_read": summary.spent.read,
        "tokens_written": summary.spent.written,
        "cost": summary.cost,
    }
