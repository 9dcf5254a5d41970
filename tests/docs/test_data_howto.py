"""The data set that docs/howto/data.md writes can be used as the page says."""

import json
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from halo_forge.core.errors import UserError
from halo_forge.data.public_datasets import prompts, training_records

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "data.md"
(MODULE,) = [t for t in MarkdownIt().parse(PAGE.read_text("utf-8")) if t.info == "python"]


def test_a_data_set_of_ones_own(tmp_path, monkeypatch) -> None:
    """It is named by module and object, and its rows are tasks and training records."""
    first = MODULE.content.splitlines()[0]
    (tmp_path / first.removeprefix("# file: ")).write_text(MODULE.content, encoding="utf-8")
    rows = [{"n": 1, "ask": "Add.", "code": "f = sum", "test": "assert f([1]) == 1"}, {"n": 2}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        [prompt] = prompts("my_data:sums", source=tmp_path / "rows.jsonl")
        [record] = training_records("my_data:sums", source=tmp_path / "rows.jsonl")
        assert (prompt.id, prompt.reference.entry_point) == ("sums/1", "f")
        assert record["messages"][1]["content"] == "```python\nf = sum\n```"
        with pytest.raises(UserError, match="no split 'test'"):
            list(prompts("my_data:sums", split="test", source=tmp_path))
    finally:
        sys.modules.pop("my_data", None)
