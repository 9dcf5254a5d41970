"""`halo-forge verify`: judge answers that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from halo_forge.commands import _options
from halo_forge.config.verify import VerifyConfig
from halo_forge.core.errors import CheckFailed, UserError, VerifierFault
from halo_forge.utils.text import printable

if TYPE_CHECKING:
    from halo_forge.config.sections import VerifierSettings
    from halo_forge.core.types import Reference, Sample, Verdict, VerifyResult
    from halo_forge.rlvr.verifiers.audit import Audit, Specimen, TestAudit
    from halo_forge.tracking.base import Observer

__all__ = ["command"]

_FLAGS: dict[str | tuple[str, ...], str] = {
    "--verifier": "verifier.type",
    "--verifier-command": "verifier.command",
    "--run-after-compile/--no-run-after-compile": "verifier.run_after_compile",
    "--timeout": "verifier.timeout",
    "--run-timeout": "verifier.run_timeout",
    "--memory-limit-mb": "verifier.memory_limit_mb",
    "--max-workers": "verifier.max_workers",
    "--verdict-cache": "verifier.verdict_cache",
    "--require-sandbox": "verifier.require_sandbox",
    "--unsafe-no-sandbox": "verifier.unsafe_no_sandbox",
}


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
@_options.config_files
@_options.settings(VerifyConfig, _FLAGS)
@_options.assignments
@_options.json_output
@_options.progress
@_options.quiet
@_options.verbose
@click.pass_context
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
    choose: `pytest` for test code, `execution` for input and output, else `auto`. Exit code 1
    says that a sample failed, 3 that one could not be judged. --json prints one line a sample, in
    the same order.

    \b
    Examples:
      halo-forge verify run sum.cpp --expected-output 42
      halo-forge verify run add.py --verifier pytest --tests test_add.py
      halo-forge verify run samples.jsonl --verifier execution --json
    """  # noqa: D301 - click reads the \b
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
    ordered = [verdicts[sample.id] for sample in samples]
    if as_json:
        for verdict in ordered:
            click.echo(orjson.dumps(_document(verdict)).decode())
    elif len(ordered) == 1:
        _show_one(ordered[0])
    else:
        _show_many(ordered)
    _conclude(file, ordered)


@command.command("audit")
@click.option(
    "--dataset",
    metavar="FILE",
    help="Prompts whose tests are tried instead: a file, or builtin:LANGUAGE/SPLIT.",
)
@click.option("--changes", type=click.IntRange(1), help="Changed programs for each prompt.")
@_options.config_files
@_options.settings(VerifyConfig, _FLAGS)
@_options.assignments
@_options.json_output
@_options.progress
@_options.quiet
@_options.verbose
@click.pass_context
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
        observer.stage("audit", len(corpus()), unit="answers") as stage,
    ):
        found = hold_audit(verifier, advance=stage.advance)
    if as_json:
        click.echo(orjson.dumps(_audit_document(found), option=orjson.OPT_INDENT_2).decode())
    else:
        _show_audit(found, quiet=quiet)
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
        document = [_test_finding(one) for one in wanting]
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        for one in wanting:
            _show_tests(one)
        left = len(prompts) - len(known)
        click.echo(
            f"{len(known)} prompts, {sum(one.changes for one in found)} changed programs: tests of "
            f"{len(wanting)} are wanting" + (f"; {left} without a reference" if left else "")
        )
    if wanting:
        raise CheckFailed(f"{dataset}: the tests of {len(wanting)} prompts are wanting")


def _test_finding(one: TestAudit) -> dict[str, Any]:
    return {
        "id": one.prompt.id,
        "reference_fails": one.failure,
        "flaky": one.flaky,
        "changes": one.changes,
        "survivors": [{"line": each.line, "change": each.change} for each in one.survivors],
    }


def _show_tests(one: TestAudit) -> None:
    name = printable(one.prompt.id)
    if one.flaky:
        click.echo(f"{name}: flaky, the same solution was judged differently")
    if one.failure is not None:
        click.echo(f"{name}: the reference solution fails: {printable(one.failure)}")
    elif one.survivors:
        told = "; ".join(f"line {each.line}: {each.change}" for each in one.survivors)
        click.echo(f"{name}: weak, {len(one.survivors)} of {one.changes} changes pass: {told}")


def _audit_document(found: Audit) -> dict[str, Any]:
    return {
        "judged": found.judged,
        "skipped": dict(found.skipped),
        "false_accepts": [_finding(*pair) for pair in found.false_accepts],
        "false_rejects": [_finding(*pair) for pair in found.false_rejects],
    }


def _finding(specimen: Specimen, verdict: Verdict) -> dict[str, Any]:
    answer = verdict.sample.completion
    return {"task": specimen.task, "name": specimen.name, "answer": answer, **_document(verdict)}


def _show_audit(found: Audit, *, quiet: bool) -> None:
    for title, pairs in (
        ("false accept", found.false_accepts),
        ("false reject", found.false_rejects),
    ):
        for specimen, verdict in pairs:
            result = verdict.result
            said = (
                verdict.fault if result is None else f"reward {result.reward:g}, {result.details}"
            )
            click.echo(f"{title}: {specimen.task}, {specimen.name}: {printable(str(said))}")
            lines = printable(verdict.sample.completion).rstrip().splitlines()
            click.echo("\n".join(f"    {line}" for line in lines) + "\n")
    if not quiet:
        for task, why in found.skipped.items():
            click.echo(f"skipped: {task}: {printable(why)}")
        click.echo(
            f"{found.judged} answers judged: {len(found.false_accepts)} false accepts, "
            f"{len(found.false_rejects)} false rejects"
        )


def _fitting(samples: Sequence[Sample]) -> str:
    """Return the verifier that the tests of all samples are made for."""
    references = [sample.prompt.reference for sample in samples]
    if all(reference.test_code is not None for reference in references):
        return "pytest"
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
    prompt = {"prompt": "Write the program.", "tests": cases, "expected_output": expected_output}
    return parse_prompt(prompt).reference


def _document(verdict: Verdict) -> dict[str, Any]:
    result = verdict.result
    if result is None:
        return {"id": verdict.sample.id, "fault": verdict.fault}
    return {
        "id": verdict.sample.id,
        "success": result.success,
        "reward": result.reward,
        "details": result.details,
        "error": result.error,
        "metadata": dict(result.metadata),
    }


def _show_one(verdict: Verdict) -> None:
    result = verdict.result
    if result is None:
        return
    word = "passed" if result.success else "failed"
    click.echo(f"{word}, reward {result.reward:g}: {printable(result.details)}")
    for name, text in _facts(result):
        click.echo(f"{name + ':':<11}{printable(text)}")
    if result.error and result.error not in result.details:
        click.echo("\n" + "\n".join(f"  {line}" for line in printable(result.error).splitlines()))


def _facts(result: VerifyResult) -> list[tuple[str, str]]:
    """Return what a person asks next about a verdict: name and value."""
    data = result.metadata
    facts = [("stage", data.get("stage")), ("toolchain", data.get("toolchain"))]
    if "tests_total" in data:
        facts.append(("tests", f"{data['tests_passed']} of {data['tests_total']} passed"))
    facts += [
        ("limits hit", ", ".join(data.get("limits", ())).replace("_", " ")),
        ("not run", data.get("not_run")),
        ("sandbox", data.get("backend")),
        ("integrity", data.get("integrity")),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _show_many(verdicts: Sequence[Verdict]) -> None:
    from halo_forge.commands._output import echo_grid
    from halo_forge.report.grid import Grid

    rows = []
    for verdict in verdicts:
        result = verdict.result
        if result is None:
            rows.append((verdict.sample.id, "fault", "", verdict.fault or ""))
            continue
        stage = str(result.metadata.get("stage", ""))
        rows.append((verdict.sample.id, f"{result.reward:g}", stage, result.details))
    echo_grid(Grid(("sample", "reward", "stage", "details"), tuple(rows), wide=True))


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
