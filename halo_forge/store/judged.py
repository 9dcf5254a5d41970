"""Judged answers of a journal, read through a typed door: the one for reports and comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from halo_forge.core.errors import StoreFault
from halo_forge.core.types import VerifyResult
from halo_forge.store.records import read_records

__all__ = ["Judged", "read_judged"]


class Judged(BaseModel):
    """A judged sample as it stands in a journal; its tokens are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str
    prompt_id: str
    index: int
    completion: str
    finish_reason: str
    policy: str
    success: bool
    reward: float = Field(ge=0, le=1)
    details: str
    error: str | None
    metadata: dict[str, Any]

    @property
    def result(self) -> VerifyResult:
        """The verdict."""
        return VerifyResult(self.success, self.reward, self.details, self.error, self.metadata)


def read_judged(journal: Path) -> Iterator[Judged]:
    """Yield the judged samples of a journal; the first of an id counts, as everywhere.

    Raises:
        StoreFault: If a line is damaged, or no judged sample; names it.
    """
    seen = set()
    for number, record in enumerate(read_records(journal), 1):
        try:
            line = Judged.model_validate(record)
        except ValidationError as error:
            what = error.errors(include_url=False)[0]
            place = ".".join(map(str, what["loc"]))
            raise StoreFault(
                f"{journal}:{number}: not a judged sample ({place}: {what['msg']})"
            ) from error
        if line.id not in seen:
            seen.add(line.id)
            yield line
