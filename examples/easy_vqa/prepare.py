"""`python examples/easy_vqa/prepare.py OUT`: easy-VQA as files, and a model that knows nothing.

The questions are those of the package ``easy-vqa`` (MIT): one coloured shape in a picture of 64 x
64 pixels, 13 possible answers. ``OUT`` gets

- ``model/``: LLaVA with a CLIP tower and a Llama of 0.5 M weights, at random, whose words are those
  of the questions;
- ``sft.jsonl``: questions with answers, for `halo-forge vlm sft`;
- ``prompts.jsonl``: questions about other pictures, for `halo-forge vlm train`;
- ``heldout.jsonl``: questions about the pictures of the package's test part.

Each file has as many questions of each kind: most answers of yes or no can be guessed from the
words of the question, and a model that hears mainly those learns not to look.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]

_SPECIAL = ["<pad>", "<unk>", "<image>", "<user>", "<assistant>", "<end>"]
_TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'] + '>' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}<image>"
    "{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part['text'] }}{% endfor %}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_SIDE, _PATCH, _WIDTH = 64, 8, 96
_KINDS = ("yes or no", "colour", "shape")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sft", type=int, default=9_000, help="questions with answers")
    parser.add_argument("--prompts", type=int, default=600, help="questions to train on by RAFT")
    parser.add_argument("--heldout", type=int, default=600, help="questions to measure on")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    train = list(_questions("train"))
    pictures = sorted({image for _, _, image in train})
    random.Random(chosen.seed).shuffle(pictures)  # noqa: S311 - no secret
    known = set(pictures[: len(pictures) * 3 // 4])
    lines = {
        "sft.jsonl": _drawn(
            [q for q in train if q[2] in known], chosen.sft, chosen.seed, "completion"
        ),
        "prompts.jsonl": _drawn(
            [q for q in train if q[2] not in known], chosen.prompts, chosen.seed, "ground_truth"
        ),
        "heldout.jsonl": _drawn(
            list(_questions("test")), chosen.heldout, chosen.seed, "ground_truth"
        ),
    }
    for name, records in lines.items():
        text = "".join(json.dumps(record) + "\n" for record in records)
        (chosen.out / name).write_text(text, encoding="utf-8")
    words = {word for question, answer, _ in train for word in _words(f"{question} {answer}")}
    _save_model(chosen.out / "model", sorted(words), chosen.seed)


def _folder() -> Path:
    import easy_vqa

    return Path(easy_vqa.__file__).parent / "data"


def _questions(part: str) -> Iterator[tuple[str, str, str]]:
    """Yield question, answer and picture."""
    folder = _folder() / part
    for question, answer, number in json.loads((folder / "questions.json").read_text("utf-8")):
        yield question, answer, str(folder / "images" / f"{number}.png")


def _drawn(
    questions: list[tuple[str, str, str]], count: int, seed: int, key: str
) -> list[dict[str, Any]]:
    """Draw questions, as many of each kind, and return them as lines of a file."""
    once = sorted({(question, image): answer for question, answer, image in questions}.items())
    numbers = random.Random(f"{seed} {key}")  # noqa: S311 - no secret
    chosen = [
        asked
        for kind in _KINDS
        for asked in numbers.sample([one for one in once if _kind(one[0][0]) == kind], count // 3)
    ]
    numbers.shuffle(chosen)
    return [
        {"prompt": question, "image": image, key: answer}
        | ({} if key == "completion" else {"category": _kind(question)})
        for (question, image), answer in chosen
    ]


def _kind(question: str) -> str:
    """Return what is asked for; who does not look can guess the most of yes or no."""
    if not question.startswith("what"):
        return "yes or no"
    return "colour" if "color" in question else "shape"


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def _save_model(folder: Path, words: list[str], seed: int) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    vocabulary = {word: number for number, word in enumerate([*_SPECIAL, *words])}
    level = Tokenizer(models.WordLevel(vocabulary, unk_token=_SPECIAL[1]))
    level.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=level,
        unk_token=_SPECIAL[1],
        pad_token=_SPECIAL[0],
        eos_token=_SPECIAL[-1],
        additional_special_tokens=["<user>", "<assistant>"],
        extra_special_tokens={"image_token": "<image>"},
        chat_template=_TEMPLATE,
    )
    shape = {
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_attention_heads": 4,
    }
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            **shape, num_hidden_layers=2, image_size=_SIDE, patch_size=_PATCH
        ),
        text_config=LlamaConfig(
            **shape,
            num_hidden_layers=3,
            vocab_size=len(tokenizer),
            max_position_embeddings=256,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    torch.manual_seed(seed)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": _SIDE}, crop_size={"height": _SIDE, "width": _SIDE}
    )
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=_PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    ).save_pretrained(folder)


if __name__ == "__main__":
    main()
