"""Drawn pictures: their answers are recomputed from the pixels, and the files can be trained on."""

from __future__ import annotations

import re

import pytest

from halo_forge.core.errors import UserError
from halo_forge.data.prompts import load_prompts
from halo_forge.data.scenes import KINDS, draw, write_scenes
from tests.needs import package

package("PIL")
_COLOURS = {
    (214, 39, 40): "red", (44, 160, 44): "green", (31, 119, 180): "blue", (230, 199, 0): "yellow",
    (142, 68, 173): "purple", (17, 17, 17): "black",
}  # fmt: skip


def _things(image) -> list[tuple[str, str]]:
    """Return colour and shape of each patch of one colour, by its area within its box."""
    pixels, (width, height), seen, found = image.load(), image.size, set(), []
    for start in ((x, y) for y in range(height) for x in range(width)):
        if start in seen or pixels[start] == (255, 255, 255):
            continue
        patch, queue = {start}, [start]
        while queue:
            x, y = queue.pop()
            for one in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
                inside = 0 <= one[0] < width and 0 <= one[1] < height
                if inside and one not in patch and pixels[one] == pixels[start]:
                    patch.add(one)
                    queue.append(one)
        seen |= patch
        xs, ys = [x for x, _ in patch], [y for _, y in patch]
        box = (max(xs) - min(xs) + 1) * (max(ys) - min(ys) + 1)
        share = len(patch) / box
        shape = "square" if share > 0.95 else "circle" if share > 0.68 else "triangle"
        found.append((_COLOURS[pixels[start]], shape))
    return found


@pytest.mark.parametrize("difficulty", range(1, 6))
@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_the_pixels(seed, difficulty):
    """Whoever counts patches of colour comes to the same answers."""
    image, asked = draw("counting", seed=seed, difficulty=difficulty, size=160)
    things = _things(image)
    for one in asked:
        words = re.sub(r"s\b", "", one.text).split()
        colours = [word for word in words if word in _COLOURS.values()]
        shapes = [word for word in words if word in {"circle", "square", "triangle"}]
        count = sum(s in shapes and (not colours or c in colours) for c, s in things)
        assert str(count) == one.answer, (one, things)


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_follow_from_their_seed(kind):
    """The same seed draws the same, another seed or difficulty something else."""
    image, asked = draw(kind, seed=1)
    again, same = draw(kind, seed=1)
    assert image.tobytes() == again.tobytes()
    assert asked == same
    assert draw(kind, seed=2)[0].tobytes() != image.tobytes()
    assert draw(kind, seed=1, difficulty=2)[0].tobytes() != image.tobytes()
    for size in (96, 224, 700):
        assert draw(kind, seed=1, difficulty=5, size=size)[0].size == (size, size)


def test_a_folder_of_scenes_can_be_loaded(tmp_path):
    """Prompts with images, answers, kinds and difficulties; an existing folder is not mixed."""
    told = []
    count = write_scenes(tmp_path, pictures=12, hardest=2, size=96, advance=lambda: told.append(1))
    prompts = load_prompts(tmp_path / "prompts.jsonl")
    assert len(prompts) == count >= 24
    assert len(told) == 12
    assert {(one.category, one.difficulty) for one in prompts} == {
        (kind, level) for kind in KINDS for level in (1, 2)
    }
    assert all(one.images[0].startswith(str(tmp_path)) for one in prompts)
    assert all(one.reference.ground_truth for one in prompts)
    with pytest.raises(UserError, match="there already"):
        write_scenes(tmp_path, pictures=1)
