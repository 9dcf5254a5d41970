"""Settings of the engine `openai`: a server that speaks OpenAI's protocol."""

from __future__ import annotations

from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from halo_forge.config.base import Positive, PositiveInt, Section

__all__ = ["ServerSettings"]


class ServerSettings(Section):
    """Which server answers, and how it is asked."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset(
        {"api_key_env", "concurrency", "retries", "timeout"}
    )

    base_url: str | None = None
    """Address of the server up to its version, such as `http://127.0.0.1:8080/v1`."""

    api_key_env: str | None = None
    """Environment variable that holds the server's key; without one no key is sent."""

    concurrency: PositiveInt = 8
    """Requests under way at once."""

    timeout: Positive = 600
    """Seconds to wait for one answer."""

    retries: int = Field(5, ge=0)
    """Further attempts at a request that fails for want of the server; each waits longer."""

    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105 - a parameter's name
    """Name under which the server takes `max_new_tokens`; OpenAI's newer models want the second."""

    extensions: bool = True
    """Send parameters too that are not OpenAI's (`top_k`, `min_p`, penalties), without which
    llama.cpp and vLLM take defaults of their own; `false` for a server that refuses them."""

    send_seed: bool = True
    """Send a seed of its own with every request; `false` for a server that refuses one."""

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        """Refuse what is no address, and one that holds a password: settings are stored."""
        if value is None:
            return None
        parts = urlsplit(value)  # may raise ValueError itself, as `.port` may
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("expected an address such as http://127.0.0.1:8080/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "an address with a user, a password or a query would be stored with the settings; "
                "put the key into an environment variable and name it in api_key_env"
            )
        return value.rstrip("/")
