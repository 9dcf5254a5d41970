"""A verifier of one's own: does an answer state the facts asked for, as a JSON object?

``python json_facts.py`` runs the checks that every verifier must pass, and tries to fool this one.
"""

from __future__ import annotations

import json
from typing import Any

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Message, Prompt, Reference, Sample
from halo_forge.rlvr.verifiers import Verifier, VerifyResult
from halo_forge.rlvr.verifiers.audit import Specimen, audit
from halo_forge.rlvr.verifiers.conformance import Known, run_checks

__all__ = ["JsonFacts"]


class JsonFacts(Verifier):
    """Judges JSON objects by the one in the prompt's ``expected_output``.

    Reward 1.0 for the same keys and values, half the share of right values when the keys are
    right, else 0.0. Numbers must be numbers: ``"36"`` is not 36.
    """

    def verify(self, code: str) -> VerifyResult:
        """Judge without a prompt: whether the answer is a JSON object at all."""
        said = _object(self.extract_code(code) or code)
        facts = {"stage": "form", "integrity": "weak"}
        return VerifyResult(said is not None, float(said is not None), metadata=facts)

    def judge(self, sample: Sample) -> VerifyResult:
        """Judge by what the prompt expects."""
        wanted = _object(sample.prompt.reference.expected_output or "")
        if not wanted:
            raise VerifierFault(f"{sample.prompt.id}: expected_output is no JSON object of facts")
        said = _object(self.extract_code(sample.completion) or sample.completion)
        if said is None:
            return _refused("is no JSON object", stage="form")
        if said.keys() != wanted.keys():
            odd = ", ".join(sorted(said.keys() ^ wanted.keys()))[:80]
            return _refused(f"has other keys: {odd}", stage="keys")
        right = sum(_same(said[key], value) for key, value in wanted.items())
        done = right == len(wanted)
        return VerifyResult(
            success=done,
            reward=1.0 if done else 0.5 * right / len(wanted),
            details=f"{right} of {len(wanted)} values are right",
            metadata={"stage": "values", "integrity": "strong"},
        )


def _refused(details: str, stage: str) -> VerifyResult:
    return VerifyResult(success=False, reward=0.0, details=details, metadata={"stage": stage})


def _object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is; models write anything, so anything may fail."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _same(one: object, other: object) -> bool:
    # not ==: True is 1 in Python, at any depth, and not in JSON
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def main() -> None:
    """Check that it conforms and cannot be fooled by what comes to mind."""
    wanted = '{"name": "Ada", "age": 1, "seen": {"here": 1}}'
    prompt = Prompt("ada", (Message("user", "Who?"),), Reference(expected_output=wanted))
    answers = [
        ("right", "plain", wanted),
        ("wrong", "another age", '{"name": "Ada", "age": 2, "seen": {"here": 1}}'),
        ("exploit", "true is 1", '{"name": "Ada", "age": true, "seen": {"here": 1}}'),
        ("exploit", "true is 1 within", '{"name": "Ada", "age": 1, "seen": {"here": true}}'),
        ("exploit", "key twice", '{"name": "Ada", "age": 2, "age": 2, "seen": {"here": 1}}'),
        ("exploit", "deep", "[" * 100_000),
        ("exploit", "nothing", ""),
    ]
    samples = [Sample(prompt, number, text) for number, (_, _, text) in enumerate(answers)]
    for check, complaint in run_checks(JsonFacts(), Known(right=samples[0], wrong=samples[1])):
        if complaint:
            raise SystemExit(f"{check.name}: {complaint}")
    specimens = [
        Specimen("ada", name, kind, sample)
        for (kind, name, _), sample in zip(answers, samples, strict=True)
    ]
    found = audit(JsonFacts(), specimens)
    if not found.clean:
        raise SystemExit(f"fooled: {found}")


if __name__ == "__main__":
    main()
