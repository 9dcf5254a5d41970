"""What every configuration section shares: frozen, strict, described by attribute docstrings."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Fraction", "NonNegative", "Positive", "PositiveInt", "Section", "Switch", "flatten"]


def _switched(value: Any) -> Any:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switched)]
"""On, off, or decided when the machine and the model are known; `true` is on, `false` is off."""


class Section(BaseModel):
    """A frozen group of settings; unknown keys are errors, docstrings become help texts."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,
    )

    TWINS: ClassVar[dict[str, str]] = {}
    """Top-level spellings that files may use, and the dotted key each stands for."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset()
    """Settings of this section that may change between attempts: they cannot change a result."""

    @classmethod
    def free_keys(cls) -> frozenset[str]:
        """Return `NOT_IN_DIGEST` of this section and of those within, by dotted key."""
        inner = {
            f"{name}.{key}"
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
            for key in field.annotation.free_keys()
        }
        return cls.NOT_IN_DIGEST | inner

    def guarded(self) -> dict[str, Any]:
        """Return the settings that every attempt at the same work must share, by dotted key."""
        flat = flatten(self.model_dump(mode="json"))
        free = self.free_keys()
        return {key: value for key, value in flat.items() if key not in free}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one level of dotted keys: ``{"raft.num_cycles": 3}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
