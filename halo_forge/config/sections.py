"""Settings that more than one command uses, each default once."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from halo_forge.config.base import (
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    Section,
    Switch,
)
from halo_forge.config.server import ServerSettings

__all__ = [
    "GenerationSettings",
    "HardwareSettings",
    "ImageSettings",
    "LoraSettings",
    "ModelSettings",
    "VerifierSettings",
]


class ModelSettings(Section):
    """Which model, and how it is loaded."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset({"name"})

    name: str = "builtin:smollm2-135m"
    """Model to start from: `builtin:NAME`, a local folder, or a hub id."""

    trust_remote_code: bool = False
    """Run Python code that ships with the model. Off: hub code is a stranger's program."""


class LoraSettings(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685)."""

    enabled: bool = True
    """Train adapters; false (`--no-lora`): every weight."""

    r: PositiveInt = 16
    """Rank of the adapters."""

    alpha: PositiveInt = 32
    """Scale: updates are multiplied by alpha / r."""

    dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the adapters' input while training."""

    target_modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    """Names of the linear layers that get an adapter."""


class GenerationSettings(Section):
    """How answers are sampled."""

    engine: str = "transformers"
    """Engine that turns weights into text: a registered engine's name."""

    script: str | None = None
    """Answers file of the `scripted` engine."""

    server: ServerSettings = ServerSettings()

    sampling: Literal["fixed", "adaptive"] = "fixed"
    """`fixed`: as many answers to every prompt; `adaptive`: fewer where more teach little."""

    max_new_tokens: PositiveInt = 1024
    """Longest answer in tokens; an answer cut here is never trained on."""

    temperature: NonNegative = 0.7
    """Sampling temperature; 0 takes the most likely token every time."""

    top_p: Fraction = 1.0
    """Draw only from the fewest likeliest tokens that reach this probability; 1 draws from all."""

    top_k: int = Field(0, ge=0)
    """Draw only from tokens at least as likely as the k-th; 0 draws from all."""

    min_p: float = Field(0.0, ge=0, le=1)
    """Draw only from tokens at least this share as likely as the likeliest; 0 draws from all."""

    repetition_penalty: Positive = 1.0
    """Above 1, tokens of the prompt and the answer so far become less likely; 1 changes nothing."""

    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end an answer, which then stops before the first of them."""

    batch_size: PositiveInt = 64
    """Answers decoded together (rows of the decoder's batch); fewer where memory is short."""

    @model_validator(mode="after")
    def _server_where_one_is_asked(self) -> Self:
        """Refuse a server that nobody would ask, and asking none."""
        given = self.server.base_url is not None
        if self.engine == "openai" and not given:
            raise ValueError(
                "engine openai needs generation.server.base_url (--base-url): the server's "
                "address, such as http://127.0.0.1:8080/v1"
            )
        if self.engine == "transformers" and given:
            raise ValueError(
                "generation.server.base_url is for generation.engine = openai (--engine openai); "
                "engine transformers reads weights and asks no server"
            )
        return self


class HardwareSettings(Section):
    """How the machine is used."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset(
        {"kv_cache_gb", "memory_fraction", "profile", "stage_isolation"}
    )

    profile: Literal["auto", "strix-halo", "cuda", "cpu"] = "auto"
    """Kind of machine; sets variables before torch starts, and what is `auto` below. `auto` looks
    at the graphics card."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda` (NVIDIA and ROCm) or `mps`."""

    bf16: bool = True
    """bfloat16 where the device computes in it, else float32."""

    kv_cache_gb: Positive | None = None
    """Memory for keys and values of answers under way, in GiB; never more than 0.8 of what is free,
    which it is when absent."""

    gradient_checkpointing: Switch = "auto"
    """Recompute activations in the backward pass: less memory, about a third more time; `auto`
    where they would not fit."""

    attn_implementation: str = "auto"
    """Attention of the model while it trains: `sdpa`, `eager` or what transformers offers; `auto`
    is `sdpa`; with ROCm a step of it is tried first, and where that fails it is `eager`."""

    memory_fraction: Fraction | None = None
    """Share of the graphics memory that torch may take; the profile's when absent."""

    stage_isolation: Switch = "auto"
    """Each stage of a cycle in a process of its own, whose memory is surely given back; `auto`
    where graphics and processor share memory."""


class ImageSettings(Section):
    """How the pictures of prompts are read."""

    max_pixels: PositiveInt = 1_003_520
    """Larger pictures are made smaller, to at most so many pixels (1280 patches of 28 x 28)."""

    from_web: bool = False
    """Fetch pictures that are named by an http(s) address. Off: a prompts file would choose whom
    this machine asks, and the picture may be another tomorrow."""


class VerifierSettings(Section):
    """Who judges the answers, and under which limits."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset(
        {"host", "max_workers", "niceness", "require_sandbox", "ssh_key", "user", "verdict_cache"}
    )

    type: str = "gcc"
    """A registered verifier's name."""

    language: str | None = None
    """Language of the answers when neither fence tag nor prompt names it."""

    run_after_compile: bool = True
    """Run the program too; `false` judges compilation only."""

    timeout: Positive = 30
    """CPU seconds for the compiler."""

    run_timeout: Positive = 5
    """CPU seconds for each run of the program."""

    memory_limit_mb: PositiveInt = 512
    """Memory of the running program, in MiB."""

    warn_as_error: bool = False
    """Give 0.3 to a program that compiles with warnings."""

    max_workers: PositiveInt | None = None
    """Answers judged at once; cores and one more when absent."""

    niceness: int = Field(10, ge=0, le=12)
    """How far compilers and programs step back for the decoder (nice level); 0 is on a par. A
    program that is kept waiting for a core gets that time on top of its limit; beyond 12 it could
    be kept waiting for too long."""

    command: str | None = None
    """Command of the `subprocess` verifier; `{file}` stands for the program's file."""

    host: str | None = None
    """Machine of the `msvc` verifier, reached by SSH."""

    user: str | None = None
    """Account on that machine: one that has nothing to lose."""

    ssh_key: str | None = None
    """File with the private key for that account, without a passphrase."""

    require_sandbox: tuple[str, ...] = ()
    """Guarantees that the sandbox must enforce, or nothing is judged; see `halo-forge info`."""

    unsafe_no_sandbox: bool = False
    """Run model programs without isolation. Only for code you would run yourself."""

    verdict_cache: str | None = None
    """File in which verdicts are kept for later runs; within one run they are kept in memory."""

    options: dict[str, Any] = Field(default_factory=dict)
    """Further constructor arguments of the verifier."""
