"""What a server's refusal means, in our words: whose fault it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from halo_forge.core.errors import HaloForgeError, ModelFault, UserError
from halo_forge.utils.text import did_you_mean, printable

if TYPE_CHECKING:
    from halo_forge.config.server import ServerSettings

__all__ = ["GOES_ON", "explain", "shortened", "unknown_model"]

GOES_ON = "What was answered is kept: the same command goes on from there."
_SHOWN = 300
_LISTED = 20
_NEEDS_A_KEY = (401, 403)
_BAD_REQUEST = 400
_NOT_FOUND = 404
_WORTH_A_RETRY = (408, 409, 429)  # as the openai package sees it, and everything from 500 on
_SERVERS_OWN = 500


def explain(
    error: Any,
    package: Any,
    server: ServerSettings,
    model: str,
    key: str,
    *,
    endpoint: str = "/chat/completions",
) -> HaloForgeError:
    """Return what the user is told about an error of the package that asks the server.

    What waiting may mend (no connection, 408, 409, 429, 5xx) has been tried ``server.retries``
    times by then and is a fault; what only the user can mend is a `UserError`.

    Args:
        error: As the package raised it.
        package: ``openai``, or another whose errors have the same names.
        server: Settings of the server.
        model: Name of the model that was asked for.
        key: The secret that must not appear in the message.
        endpoint: What was asked, behind the address.
    """
    url = server.base_url
    if isinstance(error, package.APITimeoutError):
        return ModelFault(
            f"{url}: no answer within {server.timeout:g} s, {_times(server)}. Raise "
            "generation.server.timeout, or lower generation.server.concurrency or "
            f"generation.max_new_tokens. {GOES_ON}"
        )
    if isinstance(error, package.APIConnectionError):
        reason = shortened(str(error.__cause__ or error), key)
        return ModelFault(
            f"{url}: cannot be reached or broke off ({reason}), {_times(server)}. Check that the "
            f"server runs and that generation.server.base_url is right. {GOES_ON}"
        )
    if isinstance(error, package.APIStatusError):
        return _refused(error, server, model, key, endpoint)
    return ModelFault(f"{url}: {shortened(str(error), key)}. {GOES_ON}")


def unknown_model(url: str | None, model: str, known: Sequence[str]) -> UserError:
    """Return the error for a model that the server does not have, with those that it has."""
    listed = ", ".join(printable(name) for name in known[:_LISTED])
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return UserError(
        f"{url} has no model {model!r}.{did_you_mean(model, known)} "
        f"It has: {listed or 'none'}{more}. Name one with --model."
    )


def shortened(text: str, key: str) -> str:
    """Return foreign text fit for one line of a message: no secret, no control characters."""
    clean = " ".join((text.replace(key, "***") if key else text).split())
    return printable(clean if len(clean) <= _SHOWN else clean[:_SHOWN] + "...").rstrip(".")


def _refused(
    error: Any, server: ServerSettings, model: str, key: str, endpoint: str
) -> HaloForgeError:
    status, url = error.status_code, server.base_url
    said = shortened(error.response.text or error.message, key)
    if status in _NEEDS_A_KEY:
        sent = (
            f"the key in {server.api_key_env}"
            if server.api_key_env
            else "a request without a key; name the variable that holds one with --api-key-env"
        )
        return UserError(f"{url} refuses ({status}) {sent}. It says: {said}")
    if status == _NOT_FOUND:
        return UserError(
            f"{url}{endpoint} is not there (404), or there is no model {model!r}. Most "
            f"addresses end in /v1. The server says: {said}"
        )
    if status in _WORTH_A_RETRY or status >= _SERVERS_OWN:
        return ModelFault(f"{url}: status {status}, {_times(server)}. It says: {said}. {GOES_ON}")
    hint = (
        ". If it does not know a parameter, set generation.server.extensions=false or "
        "generation.server.send_seed=false"
        if status == _BAD_REQUEST
        else ""
    )
    return UserError(f"{url} refuses the request ({status}). It says: {said}{hint}")


def _times(server: ServerSettings) -> str:
    return f"tried {server.retries + 1} times" if server.retries else "tried once"
