"""What any verifier must do, as named checks: for our tests, and for the author of a new one.

Give it two answers of which you know what they deserve, and run every check::

    for check, complaint in run_checks(Mine(), Known(right, wrong)):
        assert not complaint, f"{check.name}: {complaint}"

or, in a test module::

    @pytest.mark.parametrize("check", checks(), ids=str)
    def test_conforms(check):
        check.run(VERIFIER, Known(right, wrong))
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from halo_forge.core.errors import CheckFailed, VerifierFault
from halo_forge.core.types import Sample, VerifyResult
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.rlvr.verifiers.batch import FaultRecord, judge_all
from halo_forge.utils.typing import override

__all__ = ["Check", "Known", "checks", "run_checks"]

_PATIENCE = 120.0
"""Seconds by the clock after which a check of one text is given up."""

_THREADS = 4


@dataclass(frozen=True, slots=True)
class Known:
    """Answers of which it is known what they deserve.

    Attributes:
        right: An answer that passes.
        wrong: An honest answer to the same prompt that fails.
        broken: The verifier again, but so that it cannot judge (its compiler is missing, its
            server is down); without it, what becomes of faults is not checked.
    """

    right: Sample
    wrong: Sample
    broken: Verifier | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One named property.

    Attributes:
        name: For reports and test ids.
        run: Raises `CheckFailed` when the verifier does not have it.
    """

    name: str
    run: Callable[[Verifier, Known], None]

    @override
    def __str__(self) -> str:
        """Return the name."""
        return self.name


def checks() -> tuple[Check, ...]:
    """Return every check, in the order in which a new verifier had better pass them."""
    hostile = (Check(f"text: {name}", partial(_hostile, make)) for name, make in _TEXTS.items())
    return (*_PROPERTIES, *hostile)


def run_checks(verifier: Verifier, known: Known) -> Iterator[tuple[Check, str]]:
    """Run every check; yield it with what went wrong, or ``""``.

    What a check meets beside `CheckFailed` and faults (a bug of the verifier) is raised.
    """
    for check in checks():
        try:
            check.run(verifier, known)
        except (CheckFailed, VerifierFault) as error:
            yield check, str(error) or type(error).__name__
        else:
            yield check, ""


def _expect(what: str, *, holds: bool) -> None:
    if not holds:
        raise CheckFailed(what)


def _expect_equal(what: str, got: object, wanted: object) -> None:
    _expect(f"{what}: expected {wanted!r:.300}, got {got!r:.300}", holds=got == wanted)


def _expect_verdict(result: object) -> None:
    """Check the form of a verdict."""
    if not isinstance(result, VerifyResult):
        raise CheckFailed(f"a verdict is a VerifyResult, got {result!r:.200}")
    # A subclass need not keep to what the annotations say.
    reward: object = result.reward
    success: object = result.success
    in_range = isinstance(reward, float) and math.isfinite(reward) and 0.0 <= reward <= 1.0
    _expect(f"reward must be a finite float in [0, 1], got {reward!r}", holds=in_range)
    _expect(f"success must be True or False, got {success!r}", holds=isinstance(success, bool))
    _expect("success without reward", holds=not success or result.reward > 0)
    texts = [result.details, "" if result.error is None else result.error]
    _expect("details and error must be text", holds=all(isinstance(one, str) for one in texts))
    try:
        json.dumps([*texts, dict(result.metadata)], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckFailed(f"metadata is not JSON: {error}") from error


def _known_answers(verifier: Verifier, known: Known) -> None:
    right, wrong = verifier.judge(known.right), verifier.judge(known.wrong)
    for result in (right, wrong):
        _expect_verdict(result)
    _expect(f"the right answer does not pass: {right.details}", holds=right.success)
    _expect(f"the wrong answer passes: {wrong.details}", holds=not wrong.success)
    _expect(
        f"the right answer gets {right.reward:g}, the wrong one {wrong.reward:g}",
        holds=right.reward > wrong.reward,
    )


def _deterministic(verifier: Verifier, known: Known) -> None:
    for sample in (known.right, known.wrong):
        first = verifier.judge(sample)
        with verifier.afresh():
            _expect_equal("the same answer again", verifier.judge(sample), first)


def _identity(verifier: Verifier, known: Known) -> None:
    names = [verifier.identity(one) for one in (known.right, known.right, known.wrong)]
    _expect("equal samples have different identities", holds=hash(names[0]) == hash(names[1]))
    _expect_equal("identity", names[1], names[0])
    _expect("answers of different worth have one identity", holds=names[0] != names[2])


def _order_and_workers(verifier: Verifier, known: Known) -> None:
    samples = [replace(known.right, index=0), replace(known.wrong, index=1)]
    expected = {one.id: verifier.judge(one) for one in samples}
    before = verifier.max_workers
    try:
        for workers, order in ((1, samples), (_THREADS, samples[::-1])):
            verifier.max_workers = workers
            with verifier.afresh():
                found = {one.sample.id: one.result for one in judge_all(verifier, order)}
            _expect_equal(f"verdicts by {workers} workers", found, expected)
    finally:
        verifier.max_workers = before


def _batch(verifier: Verifier, known: Known) -> None:
    samples = [known.right, known.wrong, known.wrong, known.right]
    expected = [verifier.judge(one) for one in samples]
    codes, prompts = [one.completion for one in samples], [one.prompt for one in samples]
    _expect_equal("a batch", verifier.verify_batch(codes, prompts), expected)
    _expect_equal("an empty batch", verifier.verify_batch([]), [])
    for result in verifier.verify_batch(codes[:1], [known.right.prompt.text]):
        if not isinstance(result, FaultRecord):
            _expect_verdict(result)


def _threads(verifier: Verifier, known: Known) -> None:
    samples = [known.right, known.wrong] * 2
    expected = [verifier.judge(one) for one in samples]
    with verifier.afresh(), ThreadPoolExecutor(_THREADS) as pool:
        _expect_equal("verdicts of threads", list(pool.map(verifier.judge, samples)), expected)


def _fingerprint(verifier: Verifier, known: Known) -> None:
    verifier.start([known.right.prompt])
    first: object = verifier.fingerprint()
    told = isinstance(first, str) and bool(first)
    _expect(f"a fingerprint is text, got {first!r:.100}", holds=told)
    verifier.judge(known.right)
    verifier.start([known.right.prompt])
    _expect_equal("fingerprint after judging", verifier.fingerprint(), first)


def _context(verifier: Verifier, known: Known) -> None:
    expected = verifier.judge(known.right)
    with verifier as entered:
        _expect("`with` gives another object", holds=entered is verifier)
    verifier.cleanup()
    verifier.cleanup()
    _expect_equal("a verdict after cleanup", verifier.judge(known.right), expected)


def _faults(_: Verifier, known: Known) -> None:
    if known.broken is None:
        return
    try:
        result = known.broken.judge(known.right)
    except VerifierFault as fault:
        _expect("a fault says nothing", holds=bool(str(fault)))
    else:
        raise CheckFailed(f"a verifier that cannot judge gives reward {result.reward:g}")
    (record,) = known.broken.verify_batch([known.right.completion], [known.right.prompt])
    _expect(
        f"a fault in a batch is a FaultRecord, got {record!r:.200}",
        holds=isinstance(record, FaultRecord),
    )


def _hostile(make: Callable[[], str], verifier: Verifier, known: Known) -> None:
    """Judge a strange text: a verdict or a fault, in time, and never more than a right answer."""
    sample = replace(known.right, completion=make())
    pool = ThreadPoolExecutor(1, thread_name_prefix="conformance")
    future = pool.submit(verifier.judge, sample)
    pool.shutdown(wait=False)
    try:
        error = future.exception(_PATIENCE)
    except TimeoutError:
        raise CheckFailed(f"no verdict within {_PATIENCE:g} s") from None
    if isinstance(error, VerifierFault):
        return
    if error is not None:
        raise CheckFailed(f"raises {type(error).__name__}: {error!s:.200}") from error
    result = future.result()
    _expect_verdict(result)
    if result.reward > 0:
        best = verifier.judge(known.right).reward
        fair = result.reward <= best and (not result.success or result.reward == best)
        _expect(f"reward {result.reward:g} for it, {best:g} for a right answer", holds=fair)
    text = verifier.extract_code(sample.completion)
    _expect(f"extract_code gives {text!r:.100}", holds=isinstance(text, str))


_PROPERTIES = (
    Check("a right answer passes, a wrong one does not", _known_answers),
    Check("the same answer, the same verdict", _deterministic),
    Check("identities tell answers apart", _identity),
    Check("order and workers do not matter", _order_and_workers),
    Check("batches keep order", _batch),
    Check("threads do not disturb each other", _threads),
    Check("fingerprint is stable", _fingerprint),
    Check("usable after cleanup", _context),
    Check("a fault is no reward", _faults),
)

_TEXTS: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "white space": lambda: " \n\r\n\t \v\f",
    "an empty fence": lambda: "```\n```",
    "prose": lambda: "I am sorry, but I cannot write this program.",
    "20 MB": lambda: "x = 1\n" * ((20 << 20) // 6),
    "one line of 10 MB": lambda: "x" * (10 << 20),
    "one line below the bound": lambda: "print(" + "1+" * 50_000 + "1)",
    "100,000 parentheses": lambda: "print(" + "(" * 100_000 + ")" * 100_000 + ")",
    "100,000 braces": lambda: "int main() " + "{" * 100_000 + "}" * 100_000,
    "many fences": lambda: "```\n" * 5_000,
    "deep quotation": lambda: ">" * 5_000 + " ```\nprint(1)\n```",
    "NUL": lambda: "print(1)\x00",
    "lone surrogates": lambda: "print('\ud800 \udfff')",
    "not UTF-8": lambda: b"print('\xff\xfe\x80')".decode("utf-8", "surrogateescape"),
    "byte-order mark": lambda: "\ufeffprint(1)",
    "Windows line ends": lambda: "print(1)\r\nprint(2)\r\n",
    "right-to-left override": lambda: "print('\u202e1')",
    "form feed": lambda: "print(1)\n\x0cprint(2)\n",
    "end-of-file character": lambda: "print(1)\n\x1aprint(2)\n",
    "terminal escapes": lambda: "raise ValueError('\x1b[2J')",
    "a huge number": lambda: "print(" + "9" * 10_000 + ")",
}
