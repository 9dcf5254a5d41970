"""What the verifiers' tests share: one sandbox and a maker of samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from halo_forge.core.types import Message, Prompt, Reference, Sample, TestCase
from halo_forge.rlvr.verifiers import ExecutionVerifier
from halo_forge.sandbox import Sandbox, open_sandbox

ADDITION = (TestCase("1 2\n", "3"), TestCase("20 22\n", "42"), TestCase("-5 5\n", "0\n"))


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The best sandbox this machine has, opened once."""
    with open_sandbox(workers=2) as opened:
        yield opened


@pytest.fixture(scope="session")
def adder(sandbox: Sandbox) -> ExecutionVerifier:
    """A verifier of programs that add two numbers, with short limits."""
    return ExecutionVerifier(ADDITION, run_timeout=0.5, sandbox=sandbox)


@pytest.fixture(scope="session")
def make_sample():
    """Make a sample out of a completion and the fields of its prompt's reference."""

    def make(
        completion: str,
        *,
        id: str = "p1",  # noqa: A002
        text: str = "Write the program.",
        language: str | None = None,
        index: int = 0,
        **reference: Any,
    ) -> Sample:
        prompt = Prompt(id, (Message("user", text),), Reference(**reference), language)
        return Sample(prompt, index, completion)

    return make
