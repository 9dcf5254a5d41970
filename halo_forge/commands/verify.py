"""`halo-forge verify`: judge answers that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from halo_forge.commands import _options
from halo_forge.config.verify import VerifyConfig
from halo_forge.core.errors import CheckFailed, ConfigError, UserError, VerifierFault
from halo_forge.utils.text import LANGUAGES, did_you_mean, language_name

if TYPE_CHECKING:
    from halo_forge.config.sections import VerifierSettings
    from halo_forge.core.types import Reference, Sample, Verdict
    from halo_forge.tracking.base import Observer

__all__ = ["command"]

_FLAGS: dict[str | tuple[str, ...], str] = {
    "--verifier": "verifier.type",
    "--verifier-command": "verifier.command",
    "--host": "verifier.host",
    "--user": "verifier.user",
    "--ssh-key": "verifier.ssh_key",
    "--run-after-compile/--no-run-after-compile": "verifier.run_after_compile",
    "--timeout": "verifier.timeout",
    "--run-timeout": "verifier.run_timeout",
    "--memory-limit-mb": "verifier.memory_limit_mb",
    "--max-workers": "verifier.max_workers",
    "--verdict-cache": "verifier.verdict_cache",
    "--require-sandbox": "verifier.require_sandbox",
    "--unsafe-no-sandbox": "verifier.unsafe_no_sandbox",
}


def _judging(function: Any) -> Any:
    """Add what both commands take: who judges, under which limits, and how it is shown."""
    for decorate in (
        click.pass_context,
        _options.verbose,
        _options.quiet,
        _options.progress,
        _options.json_output,
        _options.assignments,
        _options.settings(VerifyConfig, _FLAGS),
        _options.config_files,
    ):
        function = decorate(function)
    return function


@click.group("verify")
def command() -> None:
    """Judge answers that are there already."""


@command.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--language", help="Language of a source file, when its ending does not tell.")
@click.option("--expected-output", help="What the program in a source file must print.")
@click.option(
    "--tests",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Tests for a source file: a JSON list of input and expected, or Python code.",
)
@_judging
def run(
    ctx: click.Context,
    file: Path,
    language: str | None,
    expected_output: str | None,
    tests: Path | None,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Judge the program in FILE, or every sample of a JSONL file, in the sandbox.

    A line of a samples file is a prompt's fields and `completion`. Without --verifier the tests
    choose: `pytest` for test code, `execution` for input and output, `vision` for a ground truth,
    else `auto`. Exit code 1 says that a sample failed, 3 that one could not be judged. --json
    prints one line a sample, in the same order.

    \b
    Examples:
      halo-forge verify run sum.cpp --expected-output 42
      halo-forge verify run add.py --verifier pytest --tests test_add.py
      halo-forge verify run samples.jsonl --verifier execution --json
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._verdicts import show_many, show_one, verdict_document
    from halo_forge.rlvr.judges import make_verifier
    from halo_forge.rlvr.verifiers.batch import judge_all

    resolved = _options.resolve(ctx, VerifyConfig)
    settings = resolved.value.verifier
    samples = _samples(file, language, expected_output, tests)
    if resolved.sources["verifier.type"] == "default":
        settings = settings.model_copy(update={"type": _fitting(samples)})
    alone = len(samples) == 1
    observer = _options.Display(progress, quiet=quiet or alone, as_json=as_json).observer()
    with make_verifier(settings, score_hidden=True) as verifier:
        verifier.start([sample.prompt for sample in samples])
        with observer.stage("verify", len(samples), unit="samples") as stage:
            verdicts = {}
            for verdict in judge_all(verifier, samples):
                verdicts[verdict.sample.id] = verdict
                stage.advance()
        program = verifier.program(samples[0])
    ordered = [verdicts[sample.id] for sample in samples]
    if as_json:
        for verdict in ordered:
            click.echo(orjson.dumps(verdict_document(verdict)).decode())
    elif len(ordered) == 1:
        show_one(ordered[0], program)
    else:
        show_many(ordered)
    _conclude(file, ordered)


@command.command("audit")
@click.option(
    "--dataset",
    metavar="FILE",
    help="Prompts whose tests are tried instead: a file, or builtin:LANGUAGE/SPLIT.",
)
@click.option("--changes", type=click.IntRange(1), help="Changed programs for each prompt.")
@_judging
def audit(
    ctx: click.Context,
    dataset: str | None,
    changes: int | None,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Try a verifier on right answers and on programs that cheat.

    Right answers must pass, and no cheat may be paid more than an honest wrong answer. The
    verifier may be one of your own: MODULE:CLASS. With --dataset the tests of prompts are tried:
    the reference solution must pass, each time, and small changes of it must not. Exit code 1 says
    that something was found.

    \b
    Examples:
      halo-forge verify audit --verifier pytest
      halo-forge verify audit --verifier execution --dataset builtin:cpp/heldout
      halo-forge verify audit --verifier my_verifiers:MyVerifier
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._verdicts import audit_document, show_audit
    from halo_forge.rlvr.judges import make_verifier
    from halo_forge.rlvr.verifiers.audit import audit as hold_audit
    from halo_forge.rlvr.verifiers.audit import corpus

    settings = _options.resolve(ctx, VerifyConfig).value.verifier
    observer = _options.Display(progress, quiet=quiet, as_json=as_json).observer()
    if dataset is not None:
        _audit_dataset(settings, dataset, changes, observer, as_json=as_json)
        return
    if changes is not None:
        raise UserError("--changes is for --dataset")
    with (
        make_verifier(settings) as verifier,
        observer.stage("audit", len(corpus(verifier.known_answers)), unit="answers") as stage,
    ):
        found = hold_audit(verifier, advance=stage.advance)
    if as_json:
        click.echo(orjson.dumps(audit_document(found), option=orjson.OPT_INDENT_2).decode())
    else:
        show_audit(found, quiet=quiet)
    if not found.judged:
        raise VerifierFault(f"{settings.type} could judge no task of the corpus")
    if not found.clean:
        raise CheckFailed(
            f"{settings.type}: {len(found.false_accepts)} false accepts, "
            f"{len(found.false_rejects)} false rejects"
        )


def _audit_dataset(
    settings: VerifierSettings,
    dataset: str,
    changes: int | None,
    observer: Observer,
    *,
    as_json: bool,
) -> None:
    """Try the tests of a data set and show those that are not worth their reward."""
    from halo_forge.commands._verdicts import show_tests, tests_document
    from halo_forge.data.prompts import load_prompts
    from halo_forge.rlvr.judges import make_verifier
    from halo_forge.rlvr.verifiers.audit import audit_tests

    prompts = load_prompts(dataset)
    known = [prompt for prompt in prompts if prompt.reference.solution is not None]
    if not known:
        raise UserError(f"{dataset}: no prompt has a 'reference' solution to try its tests on")
    options = {} if changes is None else {"changes": changes}
    with make_verifier(settings) as verifier:
        verifier.start(known)
        with observer.stage("audit", None, unit="programs") as stage:
            found = audit_tests(verifier, known, advance=stage.advance, **options)
    wanting = [one for one in found if not one.clean]
    if as_json:
        document = [tests_document(one) for one in wanting]
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        for one in wanting:
            show_tests(one)
        left = len(prompts) - len(known)
        click.echo(
            f"{len(known)} prompts, {sum(one.changes for one in found)} changed programs: tests of "
            f"{len(wanting)} are wanting" + (f"; {left} without a reference" if left else "")
        )
    if wanting:
        raise CheckFailed(f"{dataset}: the tests of {len(wanting)} prompts are wanting")


def _fitting(samples: Sequence[Sample]) -> str:
    """Return the verifier that the tests of all samples are made for."""
    references = [sample.prompt.reference for sample in samples]
    if all(reference.test_code is not None for reference in references):
        return "pytest"
    if all(reference.ground_truth is not None for reference in references):
        return "vision"
    return "execution" if all(reference.tests for reference in references) else "auto"


def _samples(
    file: Path, language: str | None, expected_output: str | None, tests: Path | None
) -> list[Sample]:
    from halo_forge.data.samples import load_samples, source_sample

    if file.suffix in {".jsonl", ".gz"}:
        if language or expected_output or tests:
            raise UserError(f"{file}: --language, --expected-output and --tests are for a source "
                            "file; in a samples file each line says so itself")  # fmt: skip
        return load_samples(file)
    if language is not None and language_name(language) is None:
        raise UserError(
            f"--language {language}: unknown language.{did_you_mean(language, LANGUAGES)}"
        )
    return [source_sample(file, language, _reference(expected_output, tests))]


def _reference(expected_output: str | None, tests: Path | None) -> Reference:
    from halo_forge.core.types import Reference
    from halo_forge.data.formats import parse_prompt

    if tests is None:
        return Reference(expected_output=expected_output)
    try:
        text = tests.read_text(encoding="utf-8")
        cases = orjson.loads(text) if tests.suffix == ".json" else text
    except (OSError, UnicodeDecodeError, orjson.JSONDecodeError) as error:
        raise UserError(f"{tests}: cannot be read: {error}") from error
    if not cases or (isinstance(cases, str) and not cases.strip()):
        raise UserError(f"{tests}: holds no tests")
    prompt = {"prompt": "Write the program.", "tests": cases, "expected_output": expected_output}
    try:
        return parse_prompt(prompt).reference
    except ConfigError as error:
        raise ConfigError([f"{tests}: {problem}" for problem in error.problems]) from error


def _conclude(file: Path, verdicts: Sequence[Verdict]) -> None:
    """Turn what came out into an exit code.

    Raises:
        VerifierFault: If a sample could not be judged.
        CheckFailed: If one failed.
    """
    faults = [verdict for verdict in verdicts if verdict.fault is not None]
    if faults:
        raise VerifierFault(
            f"{file}: {len(faults)} of {len(verdicts)} could not be judged; the first: "
            f"{faults[0].fault}"
        )
    failed = sum(not verdict.result.success for verdict in verdicts if verdict.result)
    if failed:
        raise CheckFailed(f"{file}: {failed} of {len(verdicts)} failed")
