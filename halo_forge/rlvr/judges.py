"""From settings to a verifier that is ready to judge."""

from __future__ import annotations

import inspect
from typing import Any

from halo_forge.config.sections import VerifierSettings
from halo_forge.core import registry
from halo_forge.core.errors import UserError
from halo_forge.rlvr.verifiers.base import Verifier

__all__ = ["make_verifier"]

_NOT_ARGUMENTS = frozenset({"type", "options"})


def make_verifier(settings: VerifierSettings, *, score_hidden: bool = False) -> Verifier:
    """Return the registered verifier of ``settings.type``, not yet started.

    Settings go to the constructor's parameters of the same name. A setting that the constructor
    does not take may only stand at its default.

    Args:
        settings: Type, limits and options.
        score_hidden: Run hidden tests too, where the verifier can.

    Raises:
        UserError: If the type is unknown, or a setting or option means nothing to it.
    """
    kind = registry.load("verifiers", settings.type)
    parameters = inspect.signature(kind).parameters
    arguments = _arguments(settings, parameters)
    if score_hidden and "score_hidden" in parameters:
        arguments["score_hidden"] = True
    try:
        verifier: Verifier = kind(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"verifier {settings.type!r}: {error}") from error
    return verifier


def _arguments(settings: VerifierSettings, parameters: Any) -> dict[str, Any]:
    """Return the constructor's arguments that the settings give."""
    arguments: dict[str, Any] = {}
    for name, field in VerifierSettings.model_fields.items():
        if name in _NOT_ARGUMENTS:
            continue
        value = getattr(settings, name)
        if name in parameters:
            arguments[name] = value
        elif value != field.get_default(call_default_factory=True):
            raise UserError(f"verifier.{name}: means nothing to verifier {settings.type!r}")
    unknown = sorted(settings.options.keys() - parameters.keys())
    if unknown:
        raise UserError(
            f"verifier.options.{unknown[0]}: unknown to verifier {settings.type!r}, which takes "
            f"{', '.join(sorted(parameters))}"
        )
    return {**arguments, **settings.options}
