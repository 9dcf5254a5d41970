"""The HTML report holds what a model wrote as text, and nothing else of it."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from halo_forge.core.types import Verdict, VerifyResult
from halo_forge.report import page
from halo_forge.report.page import report_html
from halo_forge.report.records import read_run
from halo_forge.utils.text import printable
from tests.fakes import make_prompt, make_sample
from tests.needs import lacking
from tests.run_directory import make_run

MARK = "data-pwned"
PWN = f"document.documentElement.setAttribute('{MARK}','1')"
ATTACKS = [
    f"<script>{PWN}</script>",
    f"</style><script>{PWN}</script>",
    f"</pre></details></title></svg><img src=x onerror=\"{PWN}\">",
    f"\"><svg onload=\"{PWN}\">",
    f"' onmouseover='{PWN}' autofocus onfocus='{PWN}",
    f"<a href=\"javascript:{PWN}\">x</a> [x](javascript:{PWN})",
    f"<iframe srcdoc=\"<script>parent.{PWN}</script>\">",
    "<style>body{display:none}</style><link rel=stylesheet href=//evil.test/x.css>",
    "<meta http-equiv=refresh content=\"0;url=http://evil.test/\"><base href=//evil.test/>",
    "-->]]><!-- <![CDATA[ &lt;script&gt; &#60;script&#62; &amp",
    "{{ 7 * 7 }} {% include '/etc/passwd' %} ${7*7}",
    "\u202eevil\u2066 \u200e\x1b[31mred\x1b]0;title\x07 \x00 \x9b2J \x85 \u2028 end",
    "<plaintext><xmp><noscript><textarea>",
]  # fmt: skip
HARMLESS = [f"word{chr(97 + n)}" for n in range(len(ATTACKS))]  # as many different ones


@dataclass
class _Page(HTMLParser):
    """What a document consists of."""

    elements: Counter[str] = field(default_factory=Counter)
    attributes: Counter[tuple[str, str]] = field(default_factory=Counter)
    values: list[str] = field(default_factory=list)
    text: str = ""
    style: str = ""
    inside: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and its attributes."""
        self.inside = tag
        self.elements[tag] += 1
        self.attributes.update((tag, name) for name, _ in attrs)
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        """Note text."""
        if self.inside == "style":
            self.style += data
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self.inside = ""

    def handle_comment(self, data: str) -> None:
        """Note a comment, of which a page has none."""
        self.elements["!--"] += 1


def _parsed(html: str) -> _Page:
    parsed = _Page()
    parsed.feed(html)
    parsed.close()
    return parsed


def _verdicts(texts: list[str]) -> list[Verdict]:
    verdicts = []
    for number, text in enumerate(texts):
        prompt = make_prompt(printable(f"{number}{text}").strip(), f"Prompt {text} {number}")
        meta = {"language": text, "diagnostic": text, "stage": text, "limits": [text]}
        for index, reward in enumerate((0.0, 1.0)):
            sample = make_sample(prompt, index, f"Say {text}\n```\ncode {text}\n```\n")
            result = VerifyResult(reward == 1, reward, f"details {text}", f"error {text}", meta)
            verdicts.append(Verdict(sample, result))
    return verdicts


def _report(folder: Path, texts: list[str]) -> str:
    name = texts[2].replace("/", "|")
    verdicts = _verdicts(texts)
    path = make_run(
        folder / name,
        {1: verdicts, 2: verdicts},
        {0: verdicts, 1: verdicts},
        system_prompt=" ".join(texts),
        model={"name": texts[0]},
    )
    return report_html(read_run(path), len(texts))


def test_no_element_or_attribute_comes_from_a_model(tmp_path: Path) -> None:
    """A hostile run gives the very elements and attributes that a harmless one gives."""
    hostile = _parsed(_report(tmp_path / "a", ATTACKS))
    harmless = _parsed(_report(tmp_path / "b", HARMLESS))
    assert hostile.elements == harmless.elements
    assert hostile.attributes == harmless.attributes
    assert sorted(hostile.values) == sorted(harmless.values)
    assert hostile.style == harmless.style
    assert not hostile.elements.keys() & {"script", "img", "a", "iframe", "link", "base", "!--"}
    assert {name for _, name in hostile.attributes} == {
        *("charset", "class", "content", "cx", "cy", "height", "http-equiv", "lang", "name"),
        *("open", "points", "r", "role", "scope", "viewbox", "width", "x", "x1", "x2", "y"),
        *("y1", "y2"),
    }


def test_all_of_it_is_there_as_text(tmp_path: Path) -> None:
    """Escaped, not thrown away; only control characters are replaced."""
    html = _report(tmp_path, ATTACKS)
    text = _parsed(html).text
    for attack in ATTACKS:
        for place in ("Prompt", "Say", "code", "details", "error"):
            assert f"{place} {printable(attack)}" in text, attack
    assert all(c.isprintable() or c in "\n\t" for c in html)


def test_policy_allows_the_style_and_nothing_else(tmp_path: Path) -> None:
    """The policy stands before all else, and names the digest of the one style sheet."""
    html = _report(tmp_path, ATTACKS)
    assert html.index("Content-Security-Policy") < html.index("<title>") < html.index("<style>")
    found = _parsed(html)
    (policy,) = [value for value in found.values if "default-src" in value]
    digest = base64.b64encode(hashlib.sha256(found.style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"url\(|@import|expression", found.style)
    assert "prefers-color-scheme: dark" in found.style


def test_templates_declare_nothing_safe() -> None:
    """There is no way round the escaping, in the templates or in the module."""
    folder = Path(page.__file__).parent
    sources = [path.read_text("utf-8") for path in (folder / "templates").iterdir()]
    assert len(sources) == 2
    for source in sources:
        code = re.sub(r"\{#.*?#\}", "", source, flags=re.DOTALL)
        assert not re.search(r"\|\s*safe|autoescape|style=|\son\w+=|href|src=", code)
    assert "Markup(" not in (folder / "page.py").read_text("utf-8")


def test_highlighted_code_is_escaped(tmp_path: Path) -> None:
    """Where a lexer cuts the code in pieces, each piece is text."""
    prompt = make_prompt("p")
    code = 'int main() { return "<script>alert(1)</script>"[0] < 1; } // </span><b>'
    result = VerifyResult(False, 0.5, metadata={"language": "cpp"})
    sample = make_sample(prompt, 0, f"```cpp\n{code}\n```")
    run = make_run(tmp_path / "run", {1: [Verdict(sample, result)]})
    found = _parsed(report_html(read_run(run), 1))
    assert ("span", "class") in found.attributes
    assert "keyword" in found.values
    assert not found.elements.keys() & {"script"}
    assert found.elements["b"] == 2  # the ids of the one sample, as best and as worst
    assert found.text.count(code) == 4


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    """Without a cycle there is a page that says so."""
    run = make_run(tmp_path / "run", {})
    assert "No cycle has figures yet." in report_html(read_run(run), 3)


def test_curves(tmp_path: Path) -> None:
    """What a run recorded is drawn, with its intervals; what it did not is left out."""
    found = _parsed(_report(tmp_path, HARMLESS)).text
    for title in ("Held-out rates", "Mean reward", "Entropy", "Loss", "Learning rate", "Seconds"):
        assert title in found
    unseen = 1 - 0.025 ** (1 / len(HARMLESS))  # all prompts alike: see `stats.bootstrap_rate`
    interval = f"[{0.5 - unseen / 2:.1%}, {0.5 + unseen / 2:.1%}]"
    assert f"full pass, cycle 1: 50.0% {interval}" in found
    alone = make_run(tmp_path / "alone", {1: _verdicts(HARMLESS)})
    assert "Held-out rates" not in _parsed(report_html(read_run(alone), 1)).text


class _Visited(BaseHTTPRequestHandler):
    """A server that notes that it was asked."""

    seen: list[str]

    def do_GET(self) -> None:
        """Note the path."""
        self.seen.append(self.path)
        self.send_error(404)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """An address on loopback, and the paths that were asked for."""
    seen: list[str] = []
    handler = type("Handler", (_Visited,), {"seen": seen})
    with HTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", seen
        running.shutdown()
        thread.join()


def _opened(chromium: str, folder: Path, html: str) -> str:
    """Return the document after a browser has opened it from disk."""
    file = folder / "opened.html"
    file.write_text(html, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=1500"]
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [chromium, *flags, profile, "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout


def test_in_a_browser(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    """No script of a model runs and nothing is fetched; the same texts, not escaped, do both."""
    chromium = shutil.which("chromium")
    if chromium is None:
        lacking("chromium is not installed")
    address, seen = server
    attacks = [*ATTACKS[:-4], f"<img src={address}/image><script src={address}/script></script>"]
    html = _report(tmp_path, [*attacks, *ATTACKS[-4:]])

    shown = _opened(chromium, tmp_path, html)
    assert "Held-out rates" in shown
    assert MARK not in _root(shown)
    assert seen == []

    # The policy alone holds too: the attacks are put into the page as they are
    # (all but the one that leads to another page, which no policy can forbid).
    planted = html.replace("</main>", "".join([*attacks[:8], attacks[-1], "</main>"]))
    assert MARK not in _root(_opened(chromium, tmp_path, planted))
    assert seen == []

    # And this test can fail: without the policy they run, and fetch.
    bare = re.sub(r"<meta http-equiv=.Content-Security-Policy[^>]*>", "", planted)
    assert MARK in _root(_opened(chromium, tmp_path, bare))
    assert "/image" in seen


def _root(document: str) -> str:
    found = re.search(r"<html[^>]*>", document)
    assert found is not None
    return found[0]
