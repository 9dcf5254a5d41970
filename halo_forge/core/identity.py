"""Content identities and seeds: the same content gives the same name, everywhere and always."""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["content_id", "derive_seed", "digest"]


def digest(value: Any) -> str:
    """Return the SHA-256 hex digest of a JSON-serialisable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def content_id(value: Any) -> str:
    """Return the first 12 hex digits of `digest`: short to read, unique in practice."""
    return digest(value)[:12]


def derive_seed(seed: int, *parts: str | int) -> int:
    """Derive an independent 63-bit seed from a run seed and the name of what it is for.

    The result depends on nothing else, so a sample keeps its seed when neighbours, order or
    the number of attempts change.
    """
    text = "\x1f".join([str(seed), *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
