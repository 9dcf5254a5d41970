"""The flags of a RAFT run, for the command that runs it and the one that plans it."""

from __future__ import annotations

__all__ = ["RAFT_FLAGS", "REPLAY_FLAGS"]

_LEARNING: dict[str | tuple[str, ...], str] = {
    "--algorithm": "raft.algorithm",
    "--keep-percent": "raft.keep_top_percent",
    "--reward-threshold": "raft.reward_threshold",
    "--min-samples": "raft.min_samples",
    "--control": "raft.control",
    "--max-per-prompt": "raft.max_per_prompt",
    "--distinct": "raft.distinct",
    "--prompt-weights": "raft.prompt_weights",
    "--clip-low": "raft.clip_low",
    "--clip-high": "raft.clip_high",
    "--kl-coef": "raft.kl_coef",
    "--restart": "raft.restart",
    "--learning-rate": "training.learning_rate",
    "--lr-decay": "training.lr_decay",
    "--min-lr": "training.min_lr",
    "--batch-size": "training.batch_size",
    "--gradient-accumulation": "training.gradient_accumulation_steps",
    "--epochs": "training.epochs",
    "--lora-rank": "lora.r",
    "--lora-alpha": "lora.alpha",
    "--no-lora": "lora.enabled",
}

RAFT_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--model", "-m"): "model.name",
    "--checkpoint": "sft_checkpoint",
    ("--prompts", "-p"): "prompts",
    "--eval-prompts": "eval_prompts",
    "--against": "decontaminate.against",
    ("--output", "-o"): "output_dir",
    "--cycles": "raft.num_cycles",
    "--verifier": "verifier.type",
    "--verifier-command": "verifier.command",
    "--host": "verifier.host",
    "--user": "verifier.user",
    "--ssh-key": "verifier.ssh_key",
    "--samples-per-prompt": "raft.samples_per_prompt",
    "--sampling": "generation.sampling",
    "--temperature": "generation.temperature",
    "--temperature-growth": "raft.temperature_growth",
    "--max-new-tokens": "generation.max_new_tokens",
    "--curriculum": "curriculum.kind",
    "--reward-shaping": "shaping.kind",
    "--on-degradation": "stopping.on_degradation",
    **_LEARNING,
    "--system-prompt": "system_prompt",
    "--seed": "seed",
    "--require-sandbox": "verifier.require_sandbox",
    "--unsafe-no-sandbox": "verifier.unsafe_no_sandbox",
}
"""Names of each flag, and the dotted key of its setting."""

REPLAY_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--output", "-o"): "output_dir",
    "--cycles": "raft.num_cycles",
    **_LEARNING,
}
"""The same of a replay: what its answers depend on is that of the run."""
