"""What docs/howto/vision-data.md says runs and can be read."""

import json
from pathlib import Path

from markdown_it import MarkdownIt

from halo_forge.data.formats import parse_prompt
from tests.needs import package

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "vision-data.md"
TOKENS = MarkdownIt().parse(PAGE.read_text("utf-8"))


def test_snippet() -> None:
    """The snippet runs, and what it asserts holds."""
    package("PIL")
    (snippet,) = [token for token in TOKENS if token.info == "python"]
    exec(compile(snippet.content, str(PAGE), "exec"), {"__name__": "docs"})


def test_lines_of_ones_own() -> None:
    """The lines shown are prompts with their image and their accepted answers."""
    (lines,) = [token.content.splitlines() for token in TOKENS if token.info == "json"]
    first, second = (parse_prompt(json.loads(line)) for line in lines)
    assert (first.images, first.reference.ground_truth) == (("photos/12.jpg",), "3")
    assert second.reference.alternatives == ("stop sign",)
