"""Models that see, of half a megabyte: real architectures, random weights, byte-level words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["KINDS", "picture", "save_tiny_vlm"]

KINDS = ("llava", "qwen2_vl", "qwen2_5_vl", "gemma3")

_MARKS = {
    "llava": "<image>",
    "qwen2_vl": "<|image_pad|>",
    "qwen2_5_vl": "<|image_pad|>",
    "gemma3": "<start_of_image>",
}
_SPECIAL = {
    "llava": ["<image>"],
    "qwen2_vl": ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"],
    "qwen2_5_vl": ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"],
    "gemma3": ["<start_of_image>", "<end_of_image>", "<image_soft_token>"],
}
_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    # ten times the usual spread: the next token depends on the whole past, pictures included
    "initializer_range": 0.2,
}


def _template(kind: str) -> str:
    """Return a ChatML template; LLaVA's kind takes parts alone, as the published ones do."""
    mark = _MARKS[kind]
    if kind.startswith("qwen"):
        mark = f"<|vision_start|>{mark}<|vision_end|>"
    parts = (
        "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}"
        f"{mark}"
        "{% endfor %}"
        "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
        "{{ part['text'] }}"
        "{% endfor %}"
    )
    if kind != "llava":
        words = "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        parts = f"{words}{parts}{{% endif %}}"
    return (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
        + parts
        + "{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


def _tokenizer(kind: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *_SPECIAL[kind]]
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(["which colour is the shape"], trainer)
    more = (
        {"image_token": _MARKS[kind]}
        if kind != "gemma3"
        else {
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        }
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=_template(kind),
        extra_special_tokens=more,
    )


def save_tiny_vlm(folder: Path, kind: str = "llava", *, seed: int = 0) -> Path:
    """Write a model of an architecture, with tokenizer and processor: same seed, same bytes."""
    import torch
    from transformers import AutoModelForImageTextToText

    tokenizer = _tokenizer(kind)
    config, save_processor = _parts(kind, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
        if kind == "gemma3":  # made as zeros, through which no picture shows
            model.model.multi_modal_projector.mm_input_projection_weight.data.normal_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_processor(folder)
    return folder


def _parts(kind: str, tokenizer: Any) -> tuple[Any, Any]:
    import transformers as t
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    ids = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    number = tokenizer.convert_tokens_to_ids
    if kind == "llava":
        seeing = {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "initializer_range": 0.2,
        }
        config = t.LlavaConfig(
            vision_config=t.CLIPVisionConfig(**seeing),
            text_config=t.LlamaConfig(**_TEXT, **ids),
            image_token_id=number("<image>"),
            tie_word_embeddings=False,
        )
        images = CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
        return config, t.LlavaProcessor(
            images,
            tokenizer,
            patch_size=8,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=tokenizer.chat_template,
        ).save_pretrained
    if kind == "gemma3":
        config = t.Gemma3Config(
            vision_config=t.SiglipVisionConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=32,
                patch_size=8,
            ),
            text_config=t.Gemma3TextConfig(
                **{**_TEXT, "initializer_range": 0.05},
                **ids,
                head_dim=16,
                sliding_window=512,
                layer_types=["sliding_attention", "full_attention"],
            ),
            mm_tokens_per_image=4,
            boi_token_id=number("<start_of_image>"),
            eoi_token_id=number("<end_of_image>"),
            image_token_id=number("<image_soft_token>"),
        )
        images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
        return config, t.Gemma3Processor(
            images, tokenizer, image_seq_length=4, chat_template=tokenizer.chat_template
        ).save_pretrained
    marks = {
        f"{name}_token_id": number(f"<|{word}|>")
        for name, word in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    text = {
        **_TEXT,
        **ids,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [2, 3, 3],
        },
    }
    if kind == "qwen2_vl":
        seeing = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": 8}
        config = t.Qwen2VLConfig(vision_config=seeing, text_config=text, **marks)
    else:
        seeing = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "out_hidden_size": 64,
            "num_heads": 2,
            "patch_size": 8,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        }
        config = t.Qwen2_5_VLConfig(vision_config=seeing, text_config=text, **marks)
    images = Qwen2VLImageProcessorPil(
        patch_size=8, size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    )
    return config, images.save_pretrained


def picture(path: Path, size: tuple[int, int] = (48, 40), seed: int = 0) -> Path:
    """Write a picture of coloured noise."""
    import numpy as np
    from PIL import Image

    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path
