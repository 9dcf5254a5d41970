"""Displays say what happens, on stderr only, and never let a model's text drive the terminal."""

from __future__ import annotations

import io
import sys
import threading

import pytest
from rich.console import Console

from halo_forge.tracking import console
from halo_forge.tracking.base import NullObserver, Observer
from halo_forge.tracking.console import PlainObserver, RichObserver, make_observer

NASTY = "[red]x[/red] \x1b[31mred\x07"


def _rich(file: io.StringIO) -> RichObserver:
    return RichObserver(Console(file=file, force_terminal=True, width=100, color_system=None))


def test_plain_lines() -> None:
    """A stage writes its end, a message one line with nothing that drives the terminal."""
    lines: list[str] = []
    observer = PlainObserver(lines.append)

    observer.message(NASTY)
    with observer.stage("generate", 4, 1, "samples") as stage:
        stage.advance(3, pass_rate=0.5)

    assert lines == ["[red]x[/red] �[31mred�", "generate: 4/4 samples in 00:00, pass rate 50.0%"]


def test_plain_lines_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress appears by itself while the stage is open."""
    monkeypatch.setattr(console, "_LINE_EVERY", 0.01)
    seen = threading.Event()
    lines: list[str] = []

    def write(line: str) -> None:
        lines.append(line)
        seen.set()

    with PlainObserver(write).stage("verify", 4) as stage:
        stage.advance()
        assert seen.wait(10)

    assert lines[0].startswith("verify: 1/4")


def test_stage_that_fails_is_told_as_far_as_it_came() -> None:
    """An exception passes through, and the count is still written."""
    lines: list[str] = []
    with (
        pytest.raises(KeyboardInterrupt),
        PlainObserver(lines.append).stage("train", 8, unit="steps"),
    ):
        raise KeyboardInterrupt

    assert lines == ["train: 0/8 steps in 00:00"]


def test_rich_shows_overlapping_stages() -> None:
    """Two bars at once, a message between, one line for the end of each, cursor given back."""
    out = io.StringIO()
    observer = _rich(out)

    with observer.stage("generate", 4, 0, "samples") as one:
        one.advance(2)
        with observer.stage("verify", None) as two:
            two.advance(1, pass_rate=0.25)
            observer.message(NASTY)
        one.advance(2)
    with observer.stage("train", 1):
        pass

    text = out.getvalue()
    assert "generate: 4/4 samples in 00:00" in text
    assert "verify: 1 in 00:00, pass rate 25.0%" in text
    assert "train: 0/1 in 00:00" in text
    assert "[red]x[/red] �[31mred�" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2


def test_late_report_is_harmless() -> None:
    """A worker that reports after the end of the stage does not crash the run."""
    observer = _rich(io.StringIO())

    with observer.stage("verify", 2) as stage:
        pass
    stage.advance()


def test_stages_count_from_many_threads() -> None:
    """No unit is lost when workers report at the same time."""
    lines: list[str] = []
    with PlainObserver(lines.append).stage("verify", 800) as stage:
        workers = [
            threading.Thread(target=lambda: [stage.advance() for _ in range(100)]) for _ in range(8)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    assert lines[-1].startswith("verify: 800/800")


def test_null_observer_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing at all is written."""
    observer: Observer = NullObserver()

    observer.message("x")
    with observer.stage("train", 1) as stage:
        stage.advance(1, loss=1.0)

    assert tuple(capsys.readouterr()) == ("", "")


@pytest.mark.parametrize(
    ("mode", "quiet", "terminal", "kind"),
    [
        ("auto", False, False, PlainObserver),
        (None, False, True, RichObserver),
        ("auto", False, True, RichObserver),
        ("plain", False, True, PlainObserver),
        ("rich", False, False, RichObserver),
        ("none", False, True, NullObserver),
        ("rich", True, True, NullObserver),
    ],
)
def test_the_terminal_decides(
    mode: str | None, quiet: bool, terminal: bool, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live display on a terminal, lines elsewhere, nothing when asked for nothing."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)

    assert type(make_observer(mode, quiet)) is kind


def test_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that cannot move its cursor gets lines."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    assert isinstance(make_observer("auto", False), PlainObserver)


@pytest.mark.parametrize("mode", ["plain", "rich"])
def test_stdout_stays_clean(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything goes to stderr, also what is printed while a bar is drawn."""
    observer = make_observer(mode, False)
    observer.message("hello")
    with observer.stage("train", 1):
        sys.stdout.write("result\n")

    captured = capsys.readouterr()
    assert captured.out == "result\n"
    assert "hello" in captured.err


def test_no_color(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """NO_COLOR takes the colours away."""
    monkeypatch.setenv("NO_COLOR", "1")
    observer = make_observer("rich", False)
    with observer.stage("train", 2) as stage:
        stage.advance()

    assert "\x1b[3" not in capsys.readouterr().err
