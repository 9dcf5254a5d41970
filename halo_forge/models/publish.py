"""A checkpoint made ready for a hub, and sent there: known files only, a card, a stated licence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from halo_forge.core.errors import HaloForgeError, ModelFault, UserError
from halo_forge.models.builtin import PREFIX, lookup
from halo_forge.models.refs import adapter_base, resolve_cycle
from halo_forge.models.weights import ADAPTER_CONFIG, INDEX, is_adapter, read_json, weight_files
from halo_forge.store.run_dir import CARD

__all__ = ["Parcel", "pack", "send"]

_TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")
_DESCRIBING = (
    *(CARD, "LICENSE", "config.json", "generation_config.json", ADAPTER_CONFIG, INDEX),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "processor_config.json", "preprocessor_config.json"),
    *("image_processor_config.json", "video_preprocessor_config.json"),
)
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HEAD = re.compile(r"\A---\n(.*?)^---$", re.MULTILINE | re.DOTALL)
_LICENCE = re.compile(
    r"^license(?:_name)?:\s*[\"']?(?!(?:other|unknown)\b)([\w.+-]+)", re.MULTILINE
)
_BASE = re.compile(r"^base_model:\s*[\"']?([^\s\"']+).*$", re.MULTILINE)
# A folder from the root, from a drive, from home, or from somewhere above.
_PLACE = re.compile(r"(?<![\w:/.<])(?:/[\w.+-]+){2,}|\b[A-Za-z]:\\\w|(?<!\w)~/\w|\.\./[\w.]")


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes to a hub.

    Attributes:
        files: Content by name: a file as it is, or bytes where a reference had to be changed.
        left: Names in the folder that stay here.
        base: Hub id of the base model.
        licence: Licence of the base model, as the card states it.
    """

    files: Mapping[str, Path | bytes]
    left: tuple[str, ...]
    base: str
    licence: str

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }


def pack(folder: Path, base_model: str | None = None) -> Parcel:
    """Choose what of a checkpoint goes to a hub; nothing is sent, and the folder stays as it is.

    Weights, tokenizer, settings of the model and the card go; every other file stays. The built-in
    model and ``base_model`` are written as hub ids into what is sent.

    Args:
        folder: A whole model or an adapter; ``cycle_5`` finds ``cycle_5_final``.
        base_model: Hub id of the base model, where the card names something else.

    Raises:
        UserError: If there is no card, it states no licence or no base model that others have, or a
            file names a folder of this machine.
        ModelFault: If the weights are missing or damaged.
    """
    folder = resolve_cycle(folder.expanduser())
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}.")
    weights = [path.name for path in weight_files(folder)]
    card, base, licence = _card(folder / CARD, base_model)
    files: dict[str, Path | bytes] = {CARD: card}
    if is_adapter(folder):
        files[ADAPTER_CONFIG] = _adapter_config(folder, base)
    for name in sorted([*weights, *_TOKENIZER, *_DESCRIBING]):
        if (folder / name).is_file():
            files.setdefault(name, folder / name)
    for name in set(files).intersection(_DESCRIBING):
        _refuse_places(folder / name, files[name])
    left = {path.name + "/" * path.is_dir() for path in folder.iterdir()} - files.keys()
    return Parcel(files, tuple(sorted(left)), base, licence)


def _card(path: Path, base_model: str | None) -> tuple[bytes, str, str]:
    """Return the card as it goes out, the base model and its licence."""
    if not path.is_file():
        raise UserError(
            f"{path} is missing: a model goes to a hub with its card. Training writes one; "
            "or write it, with base_model and license between two lines of --- at its top."
        )
    text = path.read_text("utf-8", "surrogateescape")  # what is no text stays as it is
    head = _HEAD.match(text)
    stated = _LICENCE.search(head[1]) if head else None
    if head is None or stated is None:
        raise UserError(
            f"{path} does not state the licence of the base model. Look it up where the base model "
            "comes from, and write it between the two lines of --- at the card's top, as in "
            "`license: apache-2.0`."
        )
    named = _BASE.search(head[1])
    base = base_model or (named[1] if named else "")
    base = lookup(base).origin if base.startswith(PREFIX) else base
    if not _REPO.fullmatch(base):
        raise UserError(
            f"{path} names as base model {base!r}, which others cannot find on a hub. "
            "Give its hub id with --base-model OWNER/NAME."
        )
    line = f"base_model: {base}"
    rest = _BASE.sub(line, head[1], count=1) if named else f"{line}\n{head[1]}"
    card = f"---\n{rest}---{text[head.end() :]}"
    return card.encode("utf-8", "surrogateescape"), base, stated[1]


def _adapter_config(folder: Path, base: str) -> bytes:
    below = Path(adapter_base(folder))
    if is_adapter(below):
        raise UserError(
            f"{folder} is an adapter on the adapter {below}; on a hub one adapter alone would be "
            "another model. Send a checkpoint that was trained with lora.enabled: false."
        )
    config = read_json(folder / ADAPTER_CONFIG) | {"base_model_name_or_path": base}
    return json.dumps(config, indent=2).encode()


def _refuse_places(path: Path, content: Path | bytes) -> None:
    text = (content if isinstance(content, bytes) else content.read_bytes()).decode(
        "utf-8", "replace"
    )
    for number, line in enumerate(text.splitlines(), 1):
        if found := _PLACE.search(line):
            raise UserError(
                f"{path}:{number} names a place on this machine, {found[0]!r}, and would be sent. "
                "Write a name that others understand instead."
            )


def send(parcel: Parcel, repo: str, *, public: bool) -> str:
    """Upload ``parcel`` as one commit and return its address; a missing repository is made.

    The token is that of the hub's client: of ``HF_TOKEN``, or of ``hf auth login``.

    Args:
        parcel: What to send.
        repo: ``OWNER/NAME``.
        public: Make a new repository public, and send to one that is.

    Raises:
        UserError: If there is no token, the hub does not let it in, or the repository is public
            and ``public`` is not set; nothing was sent then.
        ModelFault: If the hub cannot be reached or breaks off; the same command goes on.
    """
    if not _REPO.fullmatch(repo):
        raise UserError(f"{repo!r} is no repository of a hub: give OWNER/NAME.")
    try:
        from huggingface_hub import CommitOperationAdd, HfApi, errors, get_token
    except ModuleNotFoundError as error:
        raise UserError(
            f"sending needs the package {error.name!r}, which is not installed. "
            "Install the extra: pip install 'halo-forge[train]'."
        ) from error
    if get_token() is None:
        raise UserError("there is no token for the hub: run `hf auth login`, or set HF_TOKEN.")
    api = HfApi()
    try:
        api.create_repo(repo, private=not public, exist_ok=True)
        if not public and not api.model_info(repo).private:
            raise UserError(f"{repo} is public already: give --public to send to it all the same.")
        added = [CommitOperationAdd(name, content) for name, content in parcel.files.items()]
        done = api.create_commit(repo, added, commit_message="Upload from halo-forge")
    except (OSError, ValueError, RuntimeError, errors.HTTPError) as error:  # type: ignore[attr-defined]
        raise _refusal(repo, error) from error
    return str(done.commit_url)


def _refusal(repo: str, error: Exception) -> HaloForgeError:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return UserError("HF_HUB_OFFLINE forbids to send anything.")
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in {401, 403}:
        return UserError(
            f"the hub does not let this token write to {repo} (status {status}). Make one with "
            "write access, and run `hf auth login` or set HF_TOKEN."
        )
    said = str(error).strip().partition("\n")[0].rstrip(".")
    return ModelFault(
        f"sending to {repo} broke off: {said or type(error).__name__}. Nothing is visible there "
        "before all of it has arrived; give the same command again."
    )
