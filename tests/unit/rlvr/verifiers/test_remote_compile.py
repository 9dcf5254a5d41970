"""Remote MSVC over a real SSH server on loopback; only the compiler behind it is a stand-in."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from halo_forge.config.sections import VerifierSettings
from halo_forge.core.errors import UserError, VerifierFault
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.verifiers import RemoteMSVCVerifier
from halo_forge.rlvr.verifiers.batch import FaultRecord
from tests.far_side.server import Server

ADD = """\
#include <cstdio>
int main() {{
    int a, b;
    std::scanf("%d %d", &a, &b);
    {extra}
    std::printf("%d\\n", a {sign} b);
}}
"""


def _add(sign: str = "+", extra: str = "") -> str:
    return "```cpp\n" + ADD.format(sign=sign, extra=extra) + "```"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A machine to go to."""
    server = Server(tmp_path_factory.mktemp("far"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def adder(server: Server) -> Iterator[RemoteMSVCVerifier]:
    """A verifier that is connected."""
    with RemoteMSVCVerifier(
        **server.options, expected_output="42", stdin_input="20 22\n", run_timeout=1, max_workers=2
    ) as verifier:
        yield verifier


def test_folders_that_somebody_threw_away_are_made_again(server) -> None:
    """Whoever tidies up over there costs a connection, and no verdict."""
    folders = {name: str(server.place / f"tidied-{name}") for name in ("input_dir", "output_dir")}
    with RemoteMSVCVerifier(**{**server.options, **folders}, max_workers=1) as verifier:
        assert verifier.verify(_add()).reward == 0.5
        shutil.rmtree(folders["output_dir"])
        assert verifier.verify(_add("-")).reward == 0.5


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("No.", (False, 0.0, "extract")),
        ("```cpp\nint main() { return 0; }\n```", (False, 0.0, "substance")),
        (_add(extra="int x = nothing;"), (False, 0.0, "compile")),
        (_add(extra="*(volatile int *)0 = 1;"), (False, 0.5, "run")),
        (_add("-"), (False, 0.7, "output")),
        (_add(), (True, 1.0, "output")),
        ("```c\n#include <stdio.h>\nint main(void) { int class = 42; printf(\"%d\", class); }\n```",
         (True, 1.0, "output")),
    ],
)  # fmt: skip
def test_ladder(adder, answer, verdict) -> None:
    """Each program on the rung that it has reached, in C++ and in C."""
    result = adder.verify(answer)
    assert (result.success, result.reward, result.metadata["stage"]) == verdict
    assert result.metadata["backend"] == "ssh"
    assert result.metadata["toolchain"].startswith("Microsoft (R) C/C++")
    assert "may do what its account may do" in result.metadata["confinement"]
    assert result.metadata["integrity"] == "strong"


def test_warnings_count_on_request(server) -> None:
    """Where warnings count, one of them, or silencing them, ends the ladder at 0.3."""
    with RemoteMSVCVerifier(**server.options, warn_as_error=True) as verifier:
        warned = verifier.verify(_add(extra="int unused;"))
        assert (warned.reward, "warning C4101" in warned.error) == (0.3, True)
        assert verifier.verify("#pragma warning(disable: 4101)\n" + ADD.format(sign="+", extra=""))\
            .reward == 0.3  # fmt: skip
        assert verifier.verify(_add()).reward == 0.5


def test_output_of_several_lines_is_whole(adder) -> None:
    """Every diagnostic of the compiler is a line of its own, in its order, of the right class."""
    result = adder.verify(_add(extra="one = 1;\n    two = 2;"))
    assert [line.partition(":")[0] for line in result.error.splitlines()] == [
        "main.cpp(5)",
        "main.cpp(6)",
    ]
    assert result.metadata["diagnostic"] == "undeclared"
    linked = adder.verify(_add(extra="extern int far(int); a = far(a);"))
    assert (linked.metadata["diagnostic"], "LNK2019" in linked.error) == ("link", True)


def test_source_reaches_the_compiler_byte_for_byte(server, make_sample) -> None:
    """Quotes, line ends, other alphabets and what shells would expand are text and stay text."""
    text = "'q' `id` $(id) %PATH% !x! ^& |; \u00e4\u00f6 \u6f22 \u202e"
    code = f'#include <cstdio>\r\n// \u00e9 "\n\tint main() {{ std::puts(R"_({text})_"); }}'
    with RemoteMSVCVerifier(**server.options, expected_output=text) as verifier:
        verifier.test_msvc()
        recorded = threading.Event()
        seen = []

        def look() -> None:
            while not recorded.is_set():
                seen.extend(p.read_bytes() for p in (server.place / "in").glob("*/*/main.cpp"))
                time.sleep(0.001)

        watcher = threading.Thread(target=look)
        watcher.start()
        result = verifier.verify(f"```cpp\n{code}\n```")
        recorded.set()
        watcher.join()
    wanted = verifier.extract_code(f"```cpp\n{code}\n```").encode()
    assert text.encode() in wanted
    assert wanted in seen
    assert result.reward == 1.0


def test_endless_programs_are_killed_over_there(adder, server) -> None:
    """A limit is a verdict; the program is gone, and so is all that it left in its folders."""
    for extra, limit in (
        ("for (volatile int i = 0;;) i = i + 1;", {"cpu_limit"}),
        ("for (;;) std::puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\");", {"output_limit"}),
        ("std::FILE *f = std::fopen(\"it's $x.txt\", \"w\"); std::fputs(\"x\", f); std::fclose(f);"
         "for (;;) std::getchar();", {"cpu_limit", "timeout"}),
    ):  # fmt: skip
        result = adder.verify(_add(extra=extra))
        assert (result.success, result.reward) == (False, 0.5)
        assert set(result.metadata["limits"]) <= limit, result
    assert not [line for line in server.left() if "main.cpp" in line or "program" in line]


def test_one_connection_for_many_answers(server) -> None:
    """A batch over several channels logs in once, and leaves nothing when it is over."""
    before = server.logins
    with RemoteMSVCVerifier(
        **server.options, expected_output="42", stdin_input="20 22\n", max_workers=3
    ) as verifier:
        answers = [_add(extra=f"a += {n}; a -= {n};") for n in range(4)] + [_add("-")]
        rewards = [result.reward for result in verifier.verify_batch(answers)]
        assert rewards == [1.0] * 4 + [0.7]
        assert server.logins == before + 1
    assert not [line for line in server.left() if "main.cpp" in line or "program" in line]


def test_a_lost_connection_is_a_fault_and_no_verdict(tmp_path) -> None:
    """Answers under way when the machine goes down have no reward; when it is back, they do."""
    server = Server(tmp_path)
    try:
        verifier = RemoteMSVCVerifier(
            **server.options, expected_output="42", stdin_input="20 22\n", max_workers=2
        )
        with verifier:
            verifier.start()
            answers = [_add(extra=f"a += {n}; a -= {n};") for n in range(4)]
            found: list[object] = []
            batch = threading.Thread(target=lambda: found.extend(verifier.verify_batch(answers)))
            batch.start()
            while not list((tmp_path / "out").glob("*/*")):
                time.sleep(0.001)
            server.kill()
            batch.join()
            assert len(found) == len(answers)
            faults = [one for one in found if isinstance(one, FaultRecord)]
            assert faults
            assert all(one.reward == 1.0 for one in found if one not in faults)
            assert "127.0.0.1" in faults[0].fault
            server.start()
            assert [one.reward for one in verifier.verify_batch(answers)] == [1.0] * 4
        assert server.left() == []
    finally:
        server.close()


def test_who_is_not_known_is_not_trusted(server, tmp_path) -> None:
    """An unknown machine, one with another key, and a key that is not let in: clear faults."""
    nobody = tmp_path / "nobody"
    nobody.touch()
    other = tmp_path / "other"
    other.write_text(f"[127.0.0.1]:{server.port} {(server.place / 'stranger.pub').read_text()}")
    for hosts in (nobody, other):
        verifier = RemoteMSVCVerifier(**{**server.options, "known_hosts": str(hosts)})
        with pytest.raises(VerifierFault, match=r"does not prove.*ssh-keyscan -p \d+ 127"):
            verifier.verify(_add())
    stranger = {**server.options, "ssh_key": str(server.place / "stranger")}
    with pytest.raises(VerifierFault, match="refuses the key"):
        RemoteMSVCVerifier(**stranger).test_connection()
    missing = {**server.options, "ssh_key": str(tmp_path / "missing")}
    with pytest.raises(VerifierFault, match="missing"):
        RemoteMSVCVerifier(**missing).test_connection()


def test_connection_and_compiler_are_told_apart(server, adder) -> None:
    """A machine that can be reached, and one of them that has no compiler."""
    assert "OpenSSH" in adder.test_connection()
    assert adder.test_msvc().startswith("Microsoft (R) C/C++")
    bare = {**server.options, "shell_command": "cd {folder} && {command}"}
    with RemoteMSVCVerifier(**bare) as verifier:
        assert "OpenSSH" in verifier.test_connection()
        with pytest.raises(VerifierFault, match=r"cannot compile the launcher.*cl"):
            verifier.test_msvc()


def test_programs_can_be_kept(server) -> None:
    """On request what was built stays, under the digest of its source."""
    options = {**server.options, "output_dir": str(server.place / "kept")}
    with RemoteMSVCVerifier(**options, keep_remote_binary=True) as verifier:
        assert verifier.verify(_add()).reward == 0.5
        verifier.start()
    kept = list((server.place / "kept").glob("*/*/program.exe"))
    digest = hashlib.sha256(verifier.extract_code(_add()).encode()).hexdigest()[:12]
    assert any(path.parent.name.endswith(digest) for path in kept)


def test_folders_need_no_quoting() -> None:
    """A folder whose name a shell would read in its own way is refused at once."""
    for name in ("a b", "a;b", "$(x)", "-x", "", 'a"b', "a\nb"):
        with pytest.raises(ValueError, match="input_dir must consist"):
            RemoteMSVCVerifier("h", "u", "k", input_dir=name)


def test_without_the_package(monkeypatch) -> None:
    """What is missing is named with the extra that brings it."""
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    with pytest.raises(VerifierFault, match=r"halo-forge\[remote\]"):
        RemoteMSVCVerifier("h", "u", "k").start()


def test_on_the_command_line(server, tmp_path) -> None:
    """The flags reach the verifier, and without them they are asked for."""
    program = tmp_path / "add.cpp"
    program.write_text(ADD.format(sign="+", extra="a = 40; b = 2;"))
    options = server.options
    flags = ["--host", options.pop("host"), "--user", options.pop("user")]
    flags += ["--ssh-key", options.pop("ssh_key")]
    config = tmp_path / "msvc.yaml"
    lines = "\n".join(f"    {key}: {value!r}" for key, value in options.items())
    config.write_text(f"verifier:\n  type: msvc\n  options:\n{lines}\n")
    command = [sys.executable, "-m", "halo_forge", "verify", "run", str(program)]
    command += ["--expected-output", "42", "-c", str(config)]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "reward 1:" in done.stdout
    with pytest.raises(UserError, match=r"needs verifier\.host, verifier\.user, verifier\.ssh_key"):
        make_verifier(VerifierSettings(type="msvc"))
