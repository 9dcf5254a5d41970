"""What may still be spent: a request is sent only if the most it can cost is left. Pure.

Tokens are reserved before a request is sent, so that answers under way cannot together go beyond
the limit, and given back when it is known what the answer took.
"""

from __future__ import annotations

from dataclasses import dataclass

from halo_forge.config.generate import BudgetSettings
from halo_forge.data.llm.requests import ItemRequest

__all__ = ["Budget", "Spent", "most_tokens"]

_FRAME = 200
"""Tokens by which a server's chat template may lengthen a prompt, and more."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What answers took.

    Attributes:
        requests: Answers.
        read: Tokens of the prompts.
        written: Tokens of the answers.
    """

    requests: int = 0
    read: int = 0
    written: int = 0

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.read + self.written

    def plus(self, read: int, written: int) -> Spent:
        """Return what is spent after one answer more."""
        return Spent(self.requests + 1, self.read + read, self.written + written)


def most_tokens(request: ItemRequest, schema: str, max_new_tokens: int) -> tuple[int, int]:
    """Return bounds on the tokens read and written for one request.

    A token is at least one byte of text, so the bytes bound the prompt; a server may put the
    schema into the prompt as well.
    """
    said = (request.system, request.user, schema)
    return sum(len(text.encode()) for text in said) + _FRAME, max_new_tokens


class Budget:
    """The requests and tokens that are left; not thread-safe.

    Args:
        settings: The limits.
        spent: What earlier attempts took.
    """

    def __init__(self, settings: BudgetSettings, spent: Spent) -> None:
        self._settings = settings
        self._reserved_requests = 0
        self._reserved_tokens = 0
        self.spent = spent

    def fits(self, tokens: int) -> bool:
        """Tell whether one request of up to ``tokens`` is left."""
        requests, most = self._settings.max_requests, self._settings.max_tokens
        if requests is not None and self.spent.requests + self._reserved_requests >= requests:
            return False
        return most is None or self.spent.tokens + self._reserved_tokens + tokens <= most

    def reserve(self, tokens: int) -> bool:
        """Set aside one request of up to ``tokens``, or tell that it does not fit."""
        if not self.fits(tokens):
            return False
        self._reserved_requests += 1
        self._reserved_tokens += tokens
        return True

    def settle(self, tokens: int, read: int, written: int) -> None:
        """Book what an answer took in place of the ``tokens`` that were set aside for it."""
        self._reserved_requests -= 1
        self._reserved_tokens -= tokens
        self.spent = self.spent.plus(read, written)
