"""The shipped conformance suite: every built-in verifier passes it, and every flaw is caught."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from halo_forge.core import registry
from halo_forge.core.errors import CheckFailed, SandboxFault, VerifierFault
from halo_forge.core.types import Message, Prompt, Reference, Sample, TestCase
from halo_forge.rlvr.verifiers import Verifier, VerifyResult
from halo_forge.rlvr.verifiers.conformance import Check, Known, checks, run_checks
from halo_forge.sandbox import Sandbox, packages_with
from tests.needs import lacking

CPP = "#include <cstdio>\nint main() { std::puts(%s); }\n"
RUST = 'fn main() { println!("{}", %s); }\n'
GO = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println(%s) }\n'
CSHARP = "class P { static void Main() { System.Console.WriteLine(%s); } }\n"
FUNCTION = "def add(a, b):\n    return a %s b\n"
SUM = (TestCase("1 2\n", "3"),)
ADD = {"test_code": "def test_add():\n    assert add(1, 2) == 3\n", "entry_point": "add"}
CHECK = {"test_code": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
         "entry_point": "add"}  # fmt: skip
PRINTS = {"expected_output": "1"}

# name: tool needed, language, what the prompt brings, right program, wrong program, options
VERIFIERS: dict[str, tuple[str, str | None, dict[str, Any], str, str, dict[str, Any]]] = {
    "auto": ("python3", "python", PRINTS, "print(1)", "print(2)", {"run_after_compile": True}),
    "chained": ("python3", "python", {"tests": SUM}, "print(sum(map(int, input().split())))",
                "print(input())", {}),
    "clang": ("clang++", "cpp", {}, CPP % '"1"', CPP % "one", {}),
    "dotnet": ("mcs", "csharp", {}, CSHARP % "1", CSHARP % "one", {}),
    "execution": ("python3", None, {"tests": SUM}, "print(sum(map(int, input().split())))",
                  "print(input())", {}),
    "gcc": ("g++", "cpp", PRINTS, CPP % '"1"', CPP % '"2"', {"run_after_compile": True}),
    "go": ("go", "go", {}, GO % "1", GO % "one", {}),
    "humaneval": ("python3", "python", CHECK, FUNCTION % "+", FUNCTION % "-", {}),
    "joined": ("g++", "cpp", {"test_code": "int main() {\n    assert(add(1, 2) == 3);\n}\n",
               "entry_point": "add"}, "int add(int a, int b) { return a + b; }",
               "int add(int a, int b) { return a - b; }", {}),
    "mbpp": ("python3", "python", {"test_code": "assert add(1, 2) == 3"}, FUNCTION % "+",
             FUNCTION % "-", {}),
    "mingw": ("x86_64-w64-mingw32-g++", "cpp", {}, CPP % '"1"', CPP % "one", {}),
    "powershell": ("python3", "powershell", {}, "Write-Output 1", "Write-Output (1", {}),
    "pytest": ("python3", "python", ADD, FUNCTION % "+", FUNCTION % "-", {}),
    "python": ("python3", "python", PRINTS, "print(1)", "print(2)", {"run_after_compile": True}),
    "rust": ("rustc", "rust", {}, RUST % "1", RUST % "one", {}),
    "subprocess": ("sh", "bash", {}, "echo $((6 * 7))", "echo (", {
        "command": "sh -n {file}"}),
    "tests": ("python3", "python", {"tests": SUM}, "print(sum(map(int, input().split())))",
              "print(input())", {}),
    "unittest": ("python3", "python", {
        "test_code": "import unittest\n\n\nclass T(unittest.TestCase):\n"
        "    def test(self):\n        self.assertEqual(add(1, 2), 3)\n"},
        FUNCTION % "+", FUNCTION % "-", {}),
}  # fmt: skip


class Dead(Sandbox):
    """A sandbox that is broken."""

    backend = "dead"

    def run(self, job):
        raise SandboxFault("the broker died")

    def guarantees(self):
        return ()

    def close(self) -> None:
        """Close nothing."""


def _known(name: str, broken: Verifier | None = None) -> Known:
    _, language, reference, right, wrong, _ = VERIFIERS[name]
    prompt = Prompt("p", (Message("user", "Write it."),), Reference(**reference), language)
    tag = language or "python"
    answers = [Sample(prompt, 0, f"```{tag}\n{code}\n```") for code in (right, wrong)]
    return Known(answers[0], answers[1], broken)


def _made(name: str, sandbox: Sandbox) -> Verifier:
    options = VERIFIERS[name][5]
    if name == "chained":
        stages = [registry.load("verifiers", one)(sandbox=sandbox) for one in ("auto", "execution")]
        return registry.load("verifiers", name)(stages)
    return registry.load("verifiers", name)(sandbox=sandbox, **options)


@pytest.fixture(scope="session")
def subject(sandbox: Sandbox) -> Iterator[Callable[[str], tuple[Verifier, Known]]]:
    """Return a verifier, made once, with answers that are known."""

    @cache
    def made(name: str) -> tuple[Verifier, Known]:
        return _made(name, sandbox), _known(name, _made(name, Dead()))

    yield made
    for name in VERIFIERS:
        made(name)[0].cleanup()


READ_ALIKE = {
    "clang": "gcc", "mingw": "gcc", "dotnet": "gcc", "go": "gcc", "rust": "gcc", "python": "gcc",
    "auto": "execution", "tests": "execution", "mbpp": "pytest", "unittest": "pytest",
}  # fmt: skip
"""Verifiers that read an answer by the same lines as another one: its hostile texts do."""


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{name}: {check}")
        for name in VERIFIERS
        for check in checks()
        if name not in READ_ALIKE or not check.name.startswith("text: ")
    ],
)
def test_built_in_verifiers_conform(name: str, check: Check, subject) -> None:
    """Every registered verifier has every property."""
    tool = VERIFIERS[name][0]
    if shutil.which(tool) is None:
        lacking(f"{tool} is not installed")
    if name == "powershell" and not (shutil.which("pwsh") or packages_with("tree_sitter_pwsh")):
        lacking("neither pwsh nor a grammar is installed")
    check.run(*subject(name))


def test_every_registered_verifier_is_tried() -> None:
    """A verifier that is registered and not in the table above is a failure."""
    # The one needs a machine on the far side, the other no program: test_remote_compile.py and
    # test_vision.py.
    elsewhere = {"msvc", "vision"}
    assert set(VERIFIERS) == set(registry.names("verifiers")) - elsewhere


class Words(Verifier):
    """A small honest verifier: counts words; flaws are planted in subclasses."""

    def verify(self, code: str) -> VerifyResult:
        right = self.extract_code(code).split() == ["right"]
        return VerifyResult(right, 1.0 if right else 0.25, "counted", None, {"stage": "words"})

    def extract_code(self, text: str) -> str:
        return text


PROMPT = Prompt("p", (Message("user", "Say right."),))
ANSWERS = Known(Sample(PROMPT, 0, "right"), Sample(PROMPT, 0, "wrong"))


def _complaints(verifier: Verifier, known: Known = ANSWERS) -> dict[str, str]:
    return {check.name: said for check, said in run_checks(verifier, known) if said}


def test_an_honest_verifier_conforms() -> None:
    """The suite asks for nothing that a small verifier of a few lines does not do."""
    assert _complaints(Words()) == {}


def _result(**changes: Any) -> VerifyResult:
    made = VerifyResult(False, 0.0, "", None, {})
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


class Generous(Words):
    """Pays anything."""

    def verify(self, code):
        return VerifyResult(True, 1.0)


class Counting(Words):
    """Says something else each time."""

    calls = 0

    def verify(self, code):
        self.calls += 1
        return replace(super().verify(code), details=f"call {self.calls}")


class Forgetful(Words):
    """Takes all answers to a prompt for one."""

    def identity(self, sample):
        return sample.prompt.id


class Unordered(Words):
    """Returns a batch in another order."""

    def verify_batch(self, codes, prompts=None):
        return super().verify_batch(codes, prompts)[1:] + super().verify_batch(codes[:1])


class Dies(Words):
    """Works until it is cleaned up."""

    closed = False

    def cleanup(self):
        self.closed = True

    def verify(self, code):
        return VerifyResult(False, 0.0) if self.closed else super().verify(code)


class NaN(Words):
    """Gives a reward that is no number."""

    def verify(self, code):
        return replace(super().verify(code)) if code else _result(reward=float("nan"))


class TwoForAll(Words):
    """Gives a reward beyond 1."""

    def verify(self, code):
        return super().verify(code) if "right" in code else _result(reward=2.0)


class Objects(Words):
    """Puts an object into the metadata."""

    def verify(self, code):
        return replace(super().verify(code), metadata={"self": object})


class Tuple(Words):
    """Returns no verdict."""

    def verify(self, code):
        return (True, 1.0)


class NoText(Words):
    """Breaks on text that is no UTF-8."""

    def verify(self, code):
        code.encode()
        return super().verify(code)


class PaysForNothing(Words):
    """Passes an empty answer for half the price."""

    def verify(self, code):
        return super().verify(code) if code.strip() else VerifyResult(True, 0.5)


class Shared(Words):
    """Keeps what it works on in an attribute."""

    def verify(self, code):
        self.code = code
        time.sleep(0.02)
        return super().verify(self.code)


class Changing(Words):
    """Has another fingerprint each time."""

    asked = 0

    def fingerprint(self):
        self.asked += 1
        return f"asked {self.asked} times"


FLAWS = [
    (Generous, "a right answer passes, a wrong one does not"),
    (Counting, "the same answer, the same verdict"),
    (Forgetful, "identities tell answers apart"),
    (Unordered, "batches keep order"),
    (Dies, "usable after cleanup"),
    (NaN, "text: empty"),
    (TwoForAll, "text: prose"),
    (Objects, "a right answer passes, a wrong one does not"),
    (Tuple, "a right answer passes, a wrong one does not"),
    (NoText, "text: lone surrogates"),
    (PaysForNothing, "text: white space"),
    (Shared, "threads do not disturb each other"),
    (Changing, "fingerprint is stable"),
]


@pytest.mark.parametrize(("kind", "name"), FLAWS, ids=lambda value: getattr(value, "__name__", ""))
def test_each_flaw_is_caught(kind: type[Words], name: str) -> None:
    """A verifier with one flaw fails the check that is made for it."""
    (check,) = [one for one in checks() if one.name == name]
    verifier = kind()
    with pytest.raises((CheckFailed, UnicodeEncodeError)) as caught:
        check.run(verifier, ANSWERS)
    assert str(caught.value)


def test_a_fault_that_is_paid_is_caught() -> None:
    """A verifier that scores 0 when it cannot judge fails; one that raises does not."""

    class Down(Words):
        def verify(self, code):
            raise VerifierFault("the server is down")

    assert "a fault is no reward" in _complaints(Words(), replace(ANSWERS, broken=Words()))
    assert _complaints(Words(), replace(ANSWERS, broken=Down())) == {}
