"""What every sandbox backend offers to the rest of halo-forge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from halo_forge.sandbox.policy import Guarantee, Job, JobResult

__all__ = ["Sandbox"]


class Sandbox(ABC):
    """Runs the steps of hostile programs; thread-safe; a context manager.

    This is a sandbox on a shared kernel: it confines programs that play by the kernel's rules,
    including malicious ones, and is no defence against a flaw of the kernel itself.

    Attributes:
        backend: ``namespaces``, ``bwrap``, ``landlock`` or ``unsafe``.
    """

    backend: str

    @abstractmethod
    def run(self, job: Job) -> JobResult:
        """Run one job and return what came of it; blocks, queues when all workers are busy.

        A limit, a crash or a refused operation is an ordinary outcome of the program.

        Raises:
            SandboxFault: If the sandbox itself failed, after one retry in a fresh worker.
        """

    @abstractmethod
    def guarantees(self) -> tuple[Guarantee, ...]:
        """Return what this sandbox promises, and how that was tried when it was opened."""

    @abstractmethod
    def close(self) -> None:
        """Kill everything that still runs and free all resources; may be called twice."""

    def __enter__(self) -> Self:
        """Return the sandbox itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the sandbox."""
        self.close()
