"""Where the files of a data set lie: a folder or file here, the hub or a mirror, or its cache.

Files of the hub are fetched one at a time, when their turn comes, into the hub's own cache, from
which an interrupted download goes on. ``HF_ENDPOINT`` names a mirror, ``HF_HUB_OFFLINE=1`` keeps
to the cache.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
import platformdirs
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from halo_forge.core.errors import HaloForgeError, StoreFault, UserError
from halo_forge.data.rows import SUFFIXES
from halo_forge.store.atomic import write_text
from halo_forge.utils.text import did_you_mean

__all__ = ["Origin", "from_hub", "from_path", "matching", "split_patterns"]

_HUB_SECONDS = 8.0
_CARD = "README.md"
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_CONVERTED = "refs/convert/parquet"
_Patterns = Callable[[Sequence[str], Mapping[str, Any]], Sequence[str]]
"""Chooses files: all paths of a repository and the head of its card in, patterns out."""


@dataclass(frozen=True)
class Origin:
    """Files of one split, in order, and where they come from.

    Attributes:
        source: Repository on the hub, or a path on this machine.
        revision: Commit on the hub; ``None`` for local files.
        licence: Licence that the repository's card states, if it does.
        names: Paths of the files within the source.
        open_file: Returns the local path of a file, fetching it when needed.
    """

    source: str
    revision: str | None
    licence: str | None
    names: tuple[str, ...]
    open_file: Callable[[str], Path]

    def files(self) -> Iterator[Path]:
        """Yield the local paths, one at a time."""
        for name in self.names:
            yield self.open_file(name)


def from_path(source: Path, choose: _Patterns) -> Origin:
    """Return the files of a split in a local folder, or the one file that ``source`` is.

    Args:
        source: A folder that holds a repository's files as the hub has them, or the files of a
            release anywhere below it; or one file.
        choose: Chooses files.

    Raises:
        UserError: If there is nothing to be read there.
    """
    if source.is_file():
        return Origin(str(source), None, None, (source.name,), lambda _: source)
    if not source.is_dir():
        near = [one.name for one in source.parent.iterdir()] if source.parent.is_dir() else []
        raise UserError(f"{source}: no such file or folder.{did_you_mean(source.name, near)}")
    paths = sorted(one.relative_to(source).as_posix() for one in source.rglob("*") if one.is_file())
    card = _front_matter(source / _CARD)
    names = matching(paths, choose(paths, card), anywhere=True)
    if not names:
        wanted = ", ".join(choose(paths, card))
        there = [name for name in paths if PurePosixPath(name).suffix in (*SUFFIXES, ".gz")][:5]
        raise UserError(
            f"{source}: holds none of {wanted}. There: {', '.join(there) or 'no data file'}."
        )
    return Origin(str(source), None, _licence(card), names, lambda name: source / name)


def from_hub(hub_id: str, revision: str | None, choose: _Patterns) -> Origin:
    """Return the files of a split in a repository on the hub, or in the hub's cache.

    Raises:
        UserError: If there is no such repository, or nothing to be read in it.
        StoreFault: If the hub cannot be asked and the cache does not hold the files.
    """
    try:
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise UserError(
            f"data set {hub_id!r} needs the package {error.name!r}, which is not installed. "
            "Install the extra: pip install 'halo-forge[data]', or name local files: --source."
        ) from error
    listing: _Listing | None
    try:
        listing = _Listing.asked(hub_id, revision)
    except errors.HFValidationError as error:
        raise UserError(f"{hub_id!r} is no possible id on the hub: {error}") from error
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]
        listing = None if _is_refusal(error) else _recall(hub_id, revision)
        if listing is None:
            raise _trouble(hub_id, error) from error
    else:
        _remember(listing, revision)
    found = listing.origin(choose)
    if found is None and revision is None:
        found = _converted(hub_id, choose)
    if found is None:
        raise UserError(
            f"data set {hub_id!r} has no files for this split that can be read "
            f"({', '.join(SUFFIXES)}). Download it, and name its files: --source."
        )
    return found


def _converted(hub_id: str, choose: _Patterns) -> Origin | None:
    """Return the Parquet files that the hub makes of data sets in other forms."""
    from huggingface_hub import errors

    try:
        return _Listing.asked(hub_id, _CONVERTED).origin(choose)
    except (OSError, errors.HTTPError):  # type: ignore[attr-defined]
        return None


def _is_refusal(error: Exception) -> bool:
    """Tell a hub that says no from one that cannot be asked."""
    from huggingface_hub import errors

    return isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError)


def matching(
    paths: Sequence[str], patterns: Sequence[str], *, anywhere: bool = False
) -> tuple[str, ...]:
    """Return the paths that match, in the order of the patterns, then by name.

    Args:
        paths: Paths in a repository.
        patterns: Paths with wildcards.
        anywhere: Where a pattern matches no path, let it match the end of paths.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        hits = [path for path in paths if fnmatch.fnmatchcase(path, pattern)]
        if not hits and anywhere:
            hits = [path for path in paths if fnmatch.fnmatchcase(f"/{path}", f"*/{pattern}")]
        found |= dict.fromkeys(sorted(hits))
    return tuple(found)


def split_patterns(
    paths: Sequence[str], card: Mapping[str, Any], config: str | None, split: str
) -> list[str]:
    """Return the files of a split of a repository that nobody has described to us.

    The card's ``configs`` decide, where it has them; else the split's name in the path; a
    repository without any split's name has one split, ``train``.

    Raises:
        UserError: If the card has no such configuration or split; says which it has.
    """
    configs = [one for one in card.get("configs") or [] if isinstance(one, Mapping)]
    if configs:
        return _card_patterns(configs, config, split)
    data = [path for path in paths if PurePosixPath(path.removesuffix(".gz")).suffix in SUFFIXES]
    if config is not None:
        data = [path for path in data if config in PurePosixPath(path).parts]
    named = [path for path in data if _says(path, split)]
    others = [path for path in data if any(_says(path, one) for one in _SPLITS)]
    return named or ([] if others or split != "train" else data)


_SPLITS = ("train", "test", "validation", "valid", "dev", "eval")


def _says(path: str, split: str) -> bool:
    return re.search(rf"(?<![a-zA-Z]){re.escape(split)}(?![a-zA-Z])", path) is not None


def _card_patterns(
    configs: Sequence[Mapping[str, Any]], config: str | None, split: str
) -> list[str]:
    names = [str(one.get("config_name", "default")) for one in configs]
    marked = next((str(one["config_name"]) for one in configs if one.get("default")), None)
    wanted = config or marked or ("default" if "default" in names else names[0])
    if wanted not in names:
        hint = did_you_mean(wanted, names)
        raise UserError(f"no configuration {wanted!r}.{hint} There are {', '.join(names)}.")
    files = configs[names.index(wanted)].get("data_files")
    if isinstance(files, str):
        files = [{"split": "train", "path": files}]
    splits = {
        str(one.get("split", "train")): one.get("path", [])
        for one in files or []
        if isinstance(one, Mapping)
    }
    if split not in splits:
        raise UserError(
            f"configuration {wanted!r} has no split {split!r}.{did_you_mean(split, splits)} "
            f"There are {', '.join(splits) or 'none'}."
        )
    path = splits[split]
    return [path] if isinstance(path, str) else [str(one) for one in path]


def _front_matter(card: Path) -> Mapping[str, Any]:
    """Return what a README says in its head, which may be nothing."""
    if not card.is_file():
        return {}
    found = _FRONT.match(card.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return {}
    try:
        head = YAML(typ="safe", pure=True).load(found[1])
    except YAMLError:
        return {}
    return head if isinstance(head, Mapping) else {}


def _licence(card: Mapping[str, Any]) -> str | None:
    stated = card.get("license")
    if isinstance(stated, list):
        return ", ".join(map(str, stated)) or None
    return str(stated) if stated else None


def _fetching(hub_id: str, revision: str | None) -> Callable[[str], Path]:
    def fetch(name: str) -> Path:
        from huggingface_hub import errors, hf_hub_download

        try:
            return Path(hf_hub_download(hub_id, name, repo_type="dataset", revision=revision))
        except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]
            raise _trouble(hub_id, error, name) from error

    return fetch


@dataclass(frozen=True)
class _Listing:
    """What a repository holds at one commit."""

    hub_id: str
    commit: str | None
    paths: tuple[str, ...]
    card: Mapping[str, Any]

    @classmethod
    def asked(cls, hub_id: str, revision: str | None) -> _Listing:
        """Return what the hub says; raises what its client raises."""
        from huggingface_hub import HfApi

        info = HfApi().dataset_info(hub_id, revision=revision, timeout=_HUB_SECONDS)
        card: Mapping[str, Any] = {}
        if info.card_data is not None:
            card = info.card_data.to_dict()  # type: ignore[no-untyped-call]
        paths = sorted(one.rfilename for one in info.siblings or [])
        return cls(hub_id, info.sha or revision, tuple(paths), card)

    def origin(self, choose: _Patterns) -> Origin | None:
        """Return the files chosen, if there are any."""
        names = matching(self.paths, choose(self.paths, self.card))
        if not names:
            return None
        fetch = _fetching(self.hub_id, self.commit)
        return Origin(self.hub_id, self.commit, _licence(self.card), names, fetch)


def _remembered_at(hub_id: str, revision: str | None) -> Path:
    """Return where a listing is kept: the hub's own cache does not say what it lacks."""
    name = f"{hub_id}@{revision or 'main'}".replace("/", "--")
    return platformdirs.user_cache_path("halo-forge") / "datasets" / f"{name}.json"


def _remember(listing: _Listing, revision: str | None) -> None:
    card = {key: listing.card[key] for key in ("license", "configs") if key in listing.card}
    record = {"commit": listing.commit, "paths": listing.paths, "card": card}
    write_text(_remembered_at(listing.hub_id, revision), orjson.dumps(record).decode())


def _recall(hub_id: str, revision: str | None) -> _Listing | None:
    path = _remembered_at(hub_id, revision)
    if not path.is_file():
        return None
    record = orjson.loads(path.read_bytes())
    return _Listing(hub_id, record["commit"], tuple(record["paths"]), record["card"])


def _trouble(hub_id: str, error: Exception, name: str = "") -> HaloForgeError:
    """Say in one line what the hub client's exception means for the user."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return StoreFault(
            f"data set {hub_id!r} is gated: accept its terms on its page on the hub, then log in "
            "with: hf auth login."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(
            f"data set {hub_id!r} is not on the hub (or it is private: hf auth login). "
            "See: halo-forge data prepare --list"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = os.environ.get("HF_HOME", "~/.cache/huggingface")
        return StoreFault(
            f"no room for data set {hub_id!r} in the hub's cache {place}. Free some space, or set "
            "HF_HOME to a folder on another disk."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"data set {hub_id!r} has no such revision on the hub.")
    lines = str(error).strip().splitlines()
    what = f"{name} of data set" if name else "data set"
    return StoreFault(
        f"{what} {hub_id!r} is not in the hub's cache, and the hub could not be asked: "
        f"{lines[0].rstrip('.') if lines else type(error).__name__}. Check the network, name a "
        "mirror by HF_ENDPOINT, or name local files: --source."
    )
