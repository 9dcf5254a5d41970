"""One judged answer as people read it in a terminal: verdict, code, answer, diagnostics."""

from __future__ import annotations

import io

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from halo_forge.report.highlight import highlighted
from halo_forge.report.samples import Answer, diagnostics, outcome, program
from halo_forge.rlvr.statistics import error_class
from halo_forge.utils.text import printable

__all__ = ["card"]

_WORDS = {"pass": "passes", "compiles": "compiles", "fails": "fails"}
_COLORS = {"pass": "bold green", "compiles": "bold yellow", "fails": "bold red"}
_STYLES = {
    "preprocessor": "magenta",
    "comment": "bright_black",
    "keyword": "blue",
    "string": "green",
    "number": "cyan",
    "name": "bold",
    "builtin": "cyan",
}
_BESIDE = 110
_LONGEST = 400


def card(answer: Answer, width: int, *, color: bool, raw: bool) -> str:
    """Return an answer as lines of at most ``width`` characters.

    The only control sequences are colours of our own: everything that a model, a compiler or a
    prompt said goes through `printable`.

    Args:
        answer: The answer.
        width: Columns of the terminal.
        color: Highlight the code.
        raw: Show the whole answer beside the code, or below it in a narrow terminal.
    """
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        color_system="standard" if color else None,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        legacy_windows=False,
    )
    console.print(Group(*_parts(answer, width, raw=raw)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _parts(answer: Answer, width: int, *, raw: bool) -> list[RenderableType]:
    parts: list[RenderableType] = [_head(answer)]
    if answer.prompt is not None:
        parts.append(_plain(_cut(answer.prompt.text), "italic"))
    code = _code(answer)
    if raw and width >= _BESIDE:
        beside = Table.grid(padding=(0, 2), expand=True)
        beside.add_column(ratio=1)
        beside.add_column(ratio=1)
        beside.add_row(Text("code", "dim"), Text("answer", "dim"))
        beside.add_row(code, _plain(answer.completion))
        parts.append(beside)
    elif raw:
        parts += [Text("code", "dim"), code, Text("answer", "dim"), _plain(answer.completion)]
    else:
        parts.append(code)
    said = [_plain(text) for text in diagnostics(answer.result)]
    return [*parts, Text(""), *said] if said else parts


def _head(answer: Answer) -> Text:
    result = answer.result
    when = f"cycle {answer.cycle}" if answer.cycle else "before"
    place = f"{'held-out, ' if answer.kind == 'heldout' else ''}{when}"
    state = outcome(result)
    head = Text.assemble(
        (printable(answer.id), "bold"),
        f"  {place}  ",
        (_WORDS[state], _COLORS[state]),
        f"  reward {result.reward:g}",
    )
    kind = error_class(result)
    if kind is not None:
        head.append(printable(f"  {kind}"))
    if answer.finish_reason == "length":
        head.append("  cut")
    return head


def _code(answer: Answer) -> RenderableType:
    language = answer.result.metadata.get("language")
    lines = highlighted(program(answer), str(language) if language else None)
    if not lines:
        return Text("(no code found in the answer)", "dim")
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for number, line in enumerate(lines, 1):
        pieces = [(text.expandtabs(4), _STYLES.get(kind, "")) for kind, text in line]
        table.add_row(str(number), Text.assemble(*pieces))
    return table


def _plain(text: str, style: str = "") -> Text:
    return Text(printable(text).expandtabs(4), style, overflow="fold")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
