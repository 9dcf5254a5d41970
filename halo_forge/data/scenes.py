"""Pictures that are drawn here, with questions whose answers are exact: for tests and curricula.

Three kinds: shapes to be counted, charts to be read, documents to be looked up in. What is drawn
follows from kind, difficulty and seed alone; the letters come from the font inside Pillow.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from halo_forge.core.errors import StoreFault, UserError
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Message, Prompt, Reference
from halo_forge.data.prompts import write_prompts

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["KINDS", "PROMPTS_FILE", "Kind", "Question", "draw", "write_scenes"]

Kind = Literal["counting", "chart", "document"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PROMPTS_FILE = "prompts.jsonl"

_COLOURS = {
    "red": "#d62728", "green": "#2ca02c", "blue": "#1f77b4", "yellow": "#e6c700",
    "purple": "#8e44ad", "black": "#111111",
}  # fmt: skip
_SHAPES = ("circle", "square", "triangle")
_NAMES = ("Ash", "Bay", "Elm", "Fig", "Fir", "Ivy", "Oak", "Pine", "Teak", "Yew")
_GOODS = ("Bolts", "Cable", "Drill", "Glue", "Hinges", "Lamp", "Nails", "Paint", "Rope", "Saw")
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a picture, and the answers that are right.

    Attributes:
        text: The question.
        answer: The answer.
        others: Other forms of it.
    """

    text: str
    answer: str
    others: tuple[str, ...] = ()


def draw(
    kind: Kind, *, seed: int, difficulty: int = 1, size: int = 224
) -> tuple[Image, tuple[Question, ...]]:
    """Return a picture and its questions.

    Args:
        kind: What is drawn.
        seed: Decides all that is drawn.
        difficulty: 1 (few things, one step) to 5 (many things, sums and comparisons).
        size: Width and height in pixels, at least 96.

    Raises:
        ModuleNotFoundError: If Pillow is not installed.
    """
    rng = random.Random(derive_seed(seed, "scene", kind, difficulty))  # noqa: S311 - not a secret
    return _DRAWN[kind](rng, difficulty, size)


def write_scenes(
    folder: Path,
    *,
    pictures: int,
    kinds: Sequence[Kind] = KINDS,
    hardest: int = 3,
    seed: int = 0,
    size: int = 224,
    advance: Callable[[], None] = lambda: None,
) -> int:
    """Write pictures and a prompts file about them; return how many questions it has.

    Kinds and difficulties take turns. The prompts file is written last, so that it is whole.

    Args:
        folder: Where ``prompts.jsonl`` and ``images/`` go.
        pictures: How many.
        kinds: What is drawn.
        hardest: Highest difficulty, 1 to 5.
        seed: Another one gives other pictures, for held-out questions.
        size: Width and height in pixels.
        advance: Called after each picture.

    Raises:
        UserError: If the folder has a prompts file, or Pillow is not installed.
        StoreFault: If the disk refuses.
    """
    prompts_file = folder / PROMPTS_FILE
    if prompts_file.exists():
        raise UserError(f"{prompts_file} is there already; name another folder")
    prompts: list[Prompt] = []
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for number in range(pictures):
            kind = kinds[number % len(kinds)]
            difficulty = 1 + (number // len(kinds)) % hardest
            image, questions = draw(
                kind, seed=derive_seed(seed, number), difficulty=difficulty, size=size
            )
            name = f"images/{number:06d}.png"
            image.save(folder / name)
            for index, one in enumerate(questions):
                prompts.append(
                    Prompt(
                        id=f"scenes/{seed}/{kind}/{number}/{index}",
                        messages=(Message("user", one.text),),
                        reference=Reference(ground_truth=one.answer, alternatives=one.others),
                        category=kind,
                        difficulty=difficulty,
                        images=(name,),
                    )
                )
            advance()
    except OSError as error:
        raise StoreFault(f"{folder}: cannot be written: {error.strerror or error}") from error
    except ModuleNotFoundError as error:
        raise UserError(
            "drawing needs the package pillow: pip install 'halo-forge[vision]'"
        ) from error
    write_prompts(prompts_file, prompts)
    return len(prompts)


def _counting(rng: random.Random, difficulty: int, size: int) -> tuple[Image, tuple[Question, ...]]:
    """Draw shapes that do not touch, and ask how many there are."""
    image, pen = _canvas(size)
    things = [
        (rng.choice(list(_COLOURS)[: 2 + difficulty // 2]), rng.choice(_SHAPES), place)
        for place in _places(rng, rng.randint(1 + difficulty, 3 + 2 * difficulty), size)
    ]
    for colour, shape, (x, y, r) in things:
        _shape(pen, shape, (x, y, r), _COLOURS[colour])
    colour, shape, _ = rng.choice(things)
    other = rng.choice([one for one in _SHAPES if one != shape])
    count = {one: sum(s == one for _, s, _ in things) for one in _SHAPES}
    both = sum((c, s) == (colour, shape) for c, s, _ in things)
    asked = [
        Question(f"How many {shape}s are there?", str(count[shape])),
        Question(f"How many {colour} {shape}s are there?", str(both)),
    ]
    if difficulty > 2:
        total = count[shape] + count[other]
        asked.append(Question(f"How many {shape}s and {other}s are there together?", str(total)))
    return image, tuple(asked)


def _places(rng: random.Random, number: int, size: int) -> list[tuple[int, int, int]]:
    """Return centres and radii of things that do not touch, corners included, as room allows."""
    radius = max(6, size // 16)
    found: list[tuple[int, int, int]] = []
    for _ in range(_TRIES):
        if len(found) == number:
            break
        x, y = (rng.randint(radius + 2, size - radius - 2) for _ in range(2))
        if all((x - a) ** 2 + (y - b) ** 2 > (3 * radius + 2) ** 2 for a, b, _ in found):
            found.append((x, y, radius))
    return found


def _shape(pen: Any, shape: str, place: tuple[int, int, int], colour: str) -> None:
    x, y, r = place
    box = (x - r, y - r, x + r, y + r)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=colour)


def _chart(rng: random.Random, difficulty: int, size: int) -> tuple[Image, tuple[Question, ...]]:
    """Draw bars with their values on top, each value once, and ask about them."""
    image, pen = _canvas(size)
    names = rng.sample(_NAMES, 2 + difficulty)
    values = rng.sample(range(5, 20 + 15 * difficulty), len(names))
    foot, top = size - size // 7, size // 7
    step = size / (len(names) + 0.5)
    for n, (name, value) in enumerate(zip(names, values, strict=True)):
        left, right = step * (n + 0.4), step * (n + 1.1)
        height = (foot - top) * value / max(values)
        colour = list(_COLOURS.values())[n % len(_COLOURS)]
        pen.rectangle((left, foot - height, right, foot), fill=colour)
        middle = (left + right) / 2
        pen.text((middle, foot - height - 3), str(value), fill="black", anchor="mb",
                 font=_font(size // 14))  # fmt: skip
        pen.text((middle, foot + 3), name, fill="black", anchor="mt", font=_font(size // 18))
    pen.line((0, foot, size, foot), fill="black")
    bars = dict(zip(names, values, strict=True))
    one, other = rng.sample(names, 2)
    asked = [
        Question(f"What is the value of {one}?", str(bars[one])),
        Question("Which bar is the highest?", max(bars, key=bars.__getitem__)),
    ]
    if difficulty > 1:
        difference = abs(bars[one] - bars[other])
        asked.append(
            Question(f"What is the difference between {one} and {other}?", str(difference))
        )
    if difficulty > 3:
        asked.append(Question("What is the sum of all values?", str(sum(values))))
    return image, tuple(asked)


def _document(rng: random.Random, difficulty: int, size: int) -> tuple[Image, tuple[Question, ...]]:
    """Write an invoice, and ask what stands there."""
    image, pen = _canvas(size)
    number = rng.randint(1000, 9999)
    goods = rng.sample(_GOODS, 1 + difficulty)
    cents = [rng.randint(100, 9999) for _ in goods]
    lines = [(f"Invoice {number}", ""), *zip(goods, map(_money, cents), strict=True)]
    lines.append(("Total", _money(sum(cents))))
    step = size / (len(lines) + 1)
    font = _font(max(8, min(size // 11, int(step * 0.75))))
    for n, (left, right) in enumerate(lines):
        pen.text((size // 14, step * (n + 0.5)), left, fill="black", font=font)
        pen.text((size - size // 14, step * (n + 0.5)), right, fill="black", font=font, anchor="ra")
    at = rng.randrange(len(goods))
    asked = [
        Question("What is the number of the invoice?", str(number)),
        Question(f"What does the line {goods[at]} cost?", _money(cents[at])),
        Question("What is the total?", _money(sum(cents))),
    ]
    if difficulty > 2:
        dearest = goods[cents.index(max(cents))]
        asked.append(Question("Which line costs the most?", dearest))
    return image, tuple(asked)


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _canvas(size: int) -> tuple[Image, Any]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size, size), "white")
    return image, ImageDraw.Draw(image)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


_Drawer = Callable[[random.Random, int, int], "tuple[Image, tuple[Question, ...]]"]
_DRAWN: dict[Kind, _Drawer] = {"counting": _counting, "chart": _chart, "document": _document}
