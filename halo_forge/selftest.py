"""`halo-forge test`: what a set-up can do, tried from the compiler to training that must help.

Checks go from cheap to dear, each on what those before it left open; what needs a part that failed
fails too, and says so. A check that trains asserts that answers to tasks it was not trained on got
better: a step that changes nothing passes nothing.
"""

from __future__ import annotations

import importlib
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from halo_forge.config.load import load_config
from halo_forge.config.raft import RaftConfig
from halo_forge.config.sections import VerifierSettings
from halo_forge.core.errors import CheckFailed, HaloForgeError
from halo_forge.core.types import Message, Prompt, Reference, Sample, TestCase
from halo_forge.engines.base import Engine, EngineSpec, Request, open_engine
from halo_forge.report.checks import CHECKS
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.verifiers.base import RewardLevel, Verifier
from halo_forge.rlvr.verifiers.batch import FaultRecord
from halo_forge.rlvr.verifiers.toolchain import driver_path
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS
from halo_forge.tracking.base import Observer
from halo_forge.utils import hardware

__all__ = ["LEVELS", "Level", "Outcome", "rise", "run_checks", "tiny_tasks"]

Level = Literal["smoke", "standard", "full"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the quickest to the one that trains; each does all that those before it do."""

_LIGHT = ("cli", "config.raft", "data.prompts", "report.page", "rlvr.verifiers", "sandbox", "store")
_WORDS = {
    "train": "river stone cloud window silver orange morning winter bridge castle forest island "
    "mirror needle ocean pencil ladder market paper wagon",
    "heldout": "apple garden summer lantern candle marble pepper violin copper harbor meadow horse",
}
_CEILING = 0.95
_ANSWERS = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check came to.

    Attributes:
        name: What was tried.
        ok: Whether it went well.
        seconds: Wall time.
        found: What was seen; of a check that failed, what is wrong and how to mend it.
    """

    name: str
    ok: bool
    seconds: float
    found: str


@dataclass(slots=True)
class _Bench:
    """What checks hand on to those after them."""

    config: RaftConfig
    observer: Observer
    folder: Path
    stack: ExitStack
    verifier: Verifier | None = None
    engine: Engine | None = None
    samples: list[Sample] = field(default_factory=list)


def run_checks(
    level: Level, model: str | None, observer: Observer, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """Run the checks of ``level`` and of those below it.

    Args:
        level: How far to go.
        model: The model to try; the built-in one when absent.
        observer: Shows the progress of loading, generating and training.
        tell: Called with each outcome as soon as it is known.
    """
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="halo-forge-test-") as folder, ExitStack() as stack:
        flags = {"model.name": model} if model is not None else {}
        config = load_config(RaftConfig, [Path("builtin:selftest")], flags).value
        bench = _Bench(config, observer, Path(folder), stack)
        for needed, name, check in _CHECKS:
            if LEVELS.index(needed) <= LEVELS.index(level):
                outcomes.append(_outcome(name, check, bench))
                tell(outcomes[-1])
    return outcomes


def tiny_tasks(split: Literal["train", "heldout"]) -> list[Prompt]:
    """Return tasks of a line of Python that a small model seldom does, and soon learns to do."""
    return [_task(word, "Python", "python") for word in _WORDS[split].split()]


def _task(word: str, title: str, language: str) -> Prompt:
    text = f'Write a {title} program that prints "{word}" and nothing else.'
    tests = (TestCase("", f"{word}\n"),)
    return Prompt(
        f"selftest/{word}", (Message("user", text),), Reference(tests=tests), language=language
    )


def _outcome(name: str, check: Callable[[_Bench], str], bench: _Bench) -> Outcome:
    started = time.monotonic()
    try:
        ok, found = True, check(bench)
    except ModuleNotFoundError as error:
        ok, found = False, f"{error.name} is not installed: pip install 'halo-forge[train]'"
    except (HaloForgeError, ImportError, OSError, RuntimeError) as error:
        # RuntimeError is what torch raises of a card that it has no kernels for.
        ok, found = False, str(error)
    return Outcome(name, ok, time.monotonic() - started, found)


def _imports(bench: _Bench) -> str:
    del bench
    for name in _LIGHT:
        importlib.import_module(f"halo_forge.{name}")
    return f"{len(_LIGHT)} rooms"


def _compiler(bench: _Bench) -> str:
    del bench
    tools = [{"name": n, "path": driver_path(t)} for n, t in TOOLCHAINS.items() if not t.remote]
    return _well("compilers", {"compilers": tools}, None)


def _well(name: str, facts: dict[str, Any], torch: dict[str, Any] | None) -> str:
    """Return what the check of `halo-forge doctor` finds, if it is well."""
    check = CHECKS[name](facts, torch)
    if check is not None and not check.ok:
        raise CheckFailed(f"{check.found}. {check.fix}")
    return "" if check is None else check.found


def _verdicts(bench: _Bench) -> str:
    """Judge a right program and three wrong ones, of which one compiles and does nothing."""
    word = "apple"
    prompt = _task(word, "C++", "cpp")
    program = '#include <iostream>\nint main() {{ std::cout << "{}"; }}\n'
    wanted = {
        program.format(word): (True, RewardLevel.CORRECT_OUTPUT),
        program.format("another"): (False, RewardLevel.COMPILE_CLEAN),
        program.format(word).replace(";", ""): (False, RewardLevel.FAILURE),
        "int main() {}": (False, RewardLevel.FAILURE),
    }
    verifier = bench.stack.enter_context(make_verifier(VerifierSettings(type="execution")))
    verifier.start([prompt])
    answers = [f"```cpp\n{text}```" for text in wanted]
    found = verifier.verify_batch(answers, [prompt] * len(answers))
    backend = ""
    for text, result, verdict in zip(wanted, found, wanted.values(), strict=True):
        if isinstance(result, FaultRecord):
            raise CheckFailed(f"the verifier could not judge: {result.fault}")
        if (result.success, result.reward) != verdict:
            raise CheckFailed(
                f"a reward of {result.reward:g}, not {verdict[1].value:g}, for: {text}"
            )
        backend = result.metadata.get("backend", backend)
    bench.verifier = verifier
    return f"{len(answers)} verdicts as they should be, sandbox: {backend}"


def _device(bench: _Bench) -> str:
    """Multiply on the device that training would use, which a torch without its kernels cannot."""
    from halo_forge.models.load import pick_device, pick_dtype

    torch: Any = importlib.import_module("torch")
    facts, told = {"hardware": hardware.describe()}, hardware.torch_facts()
    seen = _well("graphics card", facts, told)
    _well("torch kernels", facts, told)
    device = pick_device(bench.config.hardware.device)
    dtype = pick_dtype(bench.config.hardware.bf16, device)
    square = torch.full((64, 64), 0.5, dtype=dtype, device=device)
    if float((square @ square).sum()) != 64 * 64 * 16:
        raise CheckFailed(f"{device} multiplies wrongly; look at its driver and torch's build")
    return f"{device}, {str(dtype).removeprefix('torch.')}; {seen}"


def _loading(bench: _Bench) -> str:
    config = bench.config
    engine = open_engine(
        EngineSpec(config.model.name, config.generation, config.hardware, for_training=True)
    )
    bench.engine = bench.stack.enter_context(engine)
    return config.model.name


def _generation(bench: _Bench) -> str:
    engine = _needed(bench.engine, "Model loading")
    asked = [Request(prompt, tuple(range(_ANSWERS))) for prompt in tiny_tasks("heldout")]
    started = time.monotonic()
    samples = list(engine.generate(asked, seed=bench.config.seed))
    speed = sum(len(sample.token_ids) for sample in samples) / (time.monotonic() - started)
    if len(samples) != _ANSWERS * len(asked) or not all(map(_sound, samples)):
        raise CheckFailed(f"{len(samples)} answers, some without tokens or likelihoods")
    bench.samples = samples
    return f"{len(samples)} answers, {speed:.0f} tokens/s"


def _sound(sample: Sample) -> bool:
    return len(sample.token_ids) == len(sample.logprobs) > 0 and all(
        math.isfinite(one) and one <= 0 for one in sample.logprobs
    )


def _verification(bench: _Bench) -> str:
    verifier = _needed(bench.verifier, "Verifier logic")
    samples = _needed(bench.samples, "Code generation")
    found = verifier.verify_batch([s.completion for s in samples], [s.prompt for s in samples])
    faults = [one for one in found if isinstance(one, FaultRecord)]
    if faults:
        raise CheckFailed(f"{len(faults)} answers could not be judged: {faults[0].fault}")
    passed = sum(one.success for one in found if not isinstance(one, FaultRecord))
    return f"{passed} of {len(found)} answers pass"


def _training(bench: _Bench) -> str:
    """Run one cycle of RAFT on tiny tasks, and demand that the held-out ones go better."""
    from halo_forge.data.prompts import write_prompts
    from halo_forge.rlvr.raft_trainer import RAFTTrainer

    _needed(bench.engine, "Model loading")
    _needed(bench.verifier, "Verifier logic")
    bench.stack.close()  # the loop opens its own, and memory may be short
    paths = {split: bench.folder / f"{split}.jsonl" for split in ("train", "heldout")}
    write_prompts(paths["train"], tiny_tasks("train"))
    write_prompts(paths["heldout"], tiny_tasks("heldout"))
    config = bench.config.model_copy(
        update={
            "prompts": str(paths["train"]),
            "eval_prompts": str(paths["heldout"]),
            "output_dir": str(bench.folder / "run"),
        }
    )
    before, *_, after = RAFTTrainer(config, observer=bench.observer).train()
    return rise(before["heldout"], after["heldout"])


def rise(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Say by how much the held-out pass rate rose.

    Raises:
        CheckFailed: If it did not, by more than chance explains, though there was room.
    """
    old, new = before["pass_rate"]["mean"], after["pass_rate"]["mean"]
    change = after["differences"]["pass_rate"]["difference"]
    words = f"held-out pass rate {old:.2f} -> {new:.2f}"
    if old >= _CEILING:
        if new < _CEILING:
            raise CheckFailed(f"{words}: training made it worse")
        return f"{words}; no room to rise, so that training helps is shown by smaller models only"
    words += f", {change['mean']:+.2f} [{change['low']:+.2f}, {change['high']:+.2f}]"
    if change["low"] <= 0:
        raise CheckFailed(f"{words}: training did not help beyond chance")
    return words


def _needed(part: Any, name: str) -> Any:
    if not part:
        raise CheckFailed(f"not tried, since this failed: {name}")
    return part


_CHECKS: Sequence[tuple[Level, str, Callable[[_Bench], str]]] = (
    ("smoke", "Import modules", _imports),
    ("smoke", "Compiler available", _compiler),
    ("smoke", "Verifier logic", _verdicts),
    ("standard", "Device available", _device),
    ("standard", "Model loading", _loading),
    ("standard", "Code generation", _generation),
    ("standard", "Code verification", _verification),
    ("full", "Training helps", _training),
)
