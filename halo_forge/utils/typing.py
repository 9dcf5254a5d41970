"""What the standard `typing` gains in later Pythons, without the import of typing_extensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["override"]

if TYPE_CHECKING:
    from typing_extensions import override
else:
    CallableT = TypeVar("CallableT", bound=Callable[..., Any])

    def override(method: CallableT) -> CallableT:
        """Mark a method that replaces one of its base class (`typing.override` of 3.12)."""
        return method
