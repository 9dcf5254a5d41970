"""A command of the user's own: what it sees, what it decides, and what it cannot reach."""

from __future__ import annotations

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers import SubprocessVerifier


def _verdict(verifier: SubprocessVerifier, text: str) -> tuple[bool, float, str]:
    result = verifier.verify(text)
    assert result.metadata["integrity"] == "weak"
    return result.success, result.reward, result.metadata["stage"]


def test_exit_code_decides(sandbox) -> None:
    """The program lies in the file that the command is given."""
    verifier = SubprocessVerifier("grep -q 'a b' {file}", sandbox=sandbox)
    assert _verdict(verifier, "```\nx = a b\n```") == (True, 1.0, "output")
    assert _verdict(verifier, "```\nx = a  b\n```") == (False, 0.0, "run")
    assert _verdict(verifier, " \n") == (False, 0.0, "extract")


def test_pattern_in_either_stream(sandbox) -> None:
    """With a pattern the exit code alone is not enough; both streams are searched."""
    verifier = SubprocessVerifier(
        ["sh", "{file}"], success_pattern="^all [0-9]+ good$", file_extension=".sh", sandbox=sandbox
    )
    assert _verdict(verifier, "```\necho all 12 good\n```") == (True, 1.0, "output")
    assert _verdict(verifier, "```\necho all 12 good >&2\n```") == (True, 1.0, "output")
    assert _verdict(verifier, "```\necho all twelve good\n```") == (False, 0.0, "output")
    assert _verdict(verifier, "```\necho all 12 good; exit 1\n```") == (False, 0.0, "run")


def test_no_shell_unless_asked(sandbox) -> None:
    """Pipes and variables are words, except with shell=True."""
    plain = SubprocessVerifier("echo {file} | grep -q nothing", sandbox=sandbox)
    assert plain.verify("```\nx = 1\n```").success
    shell = SubprocessVerifier("cat {file} | grep -q nothing", shell=True, sandbox=sandbox)
    assert not shell.verify("```\nx = 1\n```").success
    assert shell.verify("```\nx = nothing\n```").success


def test_the_command_is_confined(sandbox) -> None:
    """It sees no environment of ours, has no network, and its time is limited."""
    verifier = SubprocessVerifier(["sh", "{file}"], timeout=1, sandbox=sandbox)
    assert not verifier.verify('```\ntest -n "$HALO_FORGE_CACHE$USER"\n```').success
    result = verifier.verify("```\nwhile :; do :; done\n```")
    assert (result.reward, result.metadata["stage"]) == (0.0, "run")
    assert "cpu limit" in result.details


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"command": "true"}, "needs {file}"),
        ({"command": ["true"]}, "needs {file}"),
        ({"command": "cat {file}", "success_pattern": "("}, "is no pattern"),
        ({"command": "cat {file}", "file_extension": "/../x"}, "file_extension"),
        ({"command": "cat {file}", "timeout": 0}, "timeout must be positive"),
        ({"command": "cat {file}", "max_workers": 0}, "max_workers"),
    ],
)
def test_wrong_arguments(options, said) -> None:
    """What cannot work is refused at once."""
    with pytest.raises(ValueError, match=said):
        SubprocessVerifier(**options)


def test_missing_command_is_a_fault(sandbox) -> None:
    """A command that is not there costs no reward and is found at the start."""
    verifier = SubprocessVerifier("no-such-tool {file}", sandbox=sandbox)
    with pytest.raises(VerifierFault, match="'no-such-tool' is not on PATH"):
        verifier.start()
    with pytest.raises(VerifierFault, match="no-such-tool"):
        verifier.verify("```\nx = 1\n```")


def test_identity_is_the_program(sandbox, make_sample) -> None:
    """Prose around the program, and the prompt, change no verdict."""
    verifier = SubprocessVerifier("cat {file}", sandbox=sandbox)
    one = make_sample("Here:\n```\nx = 1\n```", id="a")
    two = make_sample("```\nx = 1\n```\nDone.", id="b")
    assert verifier.identity(one) == verifier.identity(two)
    assert verifier.fingerprint() != SubprocessVerifier("wc {file}", sandbox=sandbox).fingerprint()
