"""From settings to a verifier that is ready to judge."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from pydantic import ValidationError

from halo_forge.config.sections import VerifierSettings
from halo_forge.core import registry
from halo_forge.core.errors import UserError
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.rlvr.verifiers.cache import VerdictCache
from halo_forge.rlvr.verifiers.code import CodeVerifier
from halo_forge.sandbox import open_sandbox

__all__ = ["make_verifier"]

_STAGES = "verifiers"
_NOT_ARGUMENTS = frozenset(
    {"type", "options", "niceness", "unsafe_no_sandbox", "require_sandbox", "verdict_cache"}
)


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
    if _STAGES in parameters:
        return _chain(settings, score_hidden=score_hidden)
    arguments = _arguments(settings, parameters)
    if "sandbox" in parameters:
        arguments["sandbox"] = partial(
            open_sandbox,
            unsafe=settings.unsafe_no_sandbox,
            require=settings.require_sandbox,
            niceness=settings.niceness,
        )
    elif settings.unsafe_no_sandbox or settings.require_sandbox:
        raise UserError(f"verifier {settings.type!r} has no sandbox to be asked for")
    elif settings.niceness != VerifierSettings.model_fields["niceness"].default:
        raise UserError(f"verifier.niceness: means nothing to verifier {settings.type!r}")
    if score_hidden and "score_hidden" in parameters:
        arguments["score_hidden"] = True
    _refuse_gaps(settings.type, arguments, parameters)
    try:
        verifier: Verifier = kind(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"verifier {settings.type!r}: {error}") from error
    if settings.verdict_cache is not None:
        if not isinstance(verifier, CodeVerifier):
            raise UserError(f"verifier.verdict_cache: means nothing to verifier {settings.type!r}")
        verifier.cache = VerdictCache(settings.verdict_cache)
    return verifier


def _chain(settings: VerifierSettings, *, score_hidden: bool) -> Verifier:
    """Return a verifier of verifiers, whose stages are written as settings of their own.

    A stage that says nothing about them has the limits of the whole.
    """
    options = dict(settings.options)
    stages = options.pop(_STAGES, None)
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise UserError(
            f"verifier.options.{_STAGES}: verifier {settings.type!r} needs a list of stages, each "
            "written like the section verifier: [{type: gcc}, {type: execution}]"
        )
    whole = settings.model_dump(exclude={"type", "options"}, exclude_unset=True)
    try:
        each = [VerifierSettings.model_validate({**whole, **stage}) for stage in stages]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"verifier.options.{_STAGES}: {place}: {first['msg']}") from error
    verifiers = [make_verifier(stage, score_hidden=score_hidden) for stage in each]
    try:
        chain: Verifier = registry.load("verifiers", settings.type)(verifiers, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f"verifier {settings.type!r}: {error}") from error
    return chain


def _refuse_gaps(kind: str, arguments: dict[str, Any], parameters: Any) -> None:
    """Refuse to call a constructor without what it cannot do without.

    Raises:
        UserError: If something is missing.
    """
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [
        f"verifier.{name}" if name in VerifierSettings.model_fields else f"verifier.options.{name}"
        for name, one in parameters.items()
        if one.default is one.empty and one.kind not in open_ended and name not in arguments
    ]
    if missing:
        raise UserError(f"verifier {kind!r} needs {', '.join(missing)}")


def _arguments(settings: VerifierSettings, parameters: Any) -> dict[str, Any]:
    """Return the constructor's arguments that the settings give."""
    arguments: dict[str, Any] = {}
    for name, field in VerifierSettings.model_fields.items():
        if name in _NOT_ARGUMENTS:
            continue
        value = getattr(settings, name)
        if value is None:
            continue
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
