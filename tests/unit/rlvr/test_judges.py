"""From settings to a verifier, or to a message that names what is wrong."""

from __future__ import annotations

import os

import pytest

from halo_forge.config.sections import VerifierSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Reference, TestCase
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.verifiers import ChainedVerifier, SubprocessVerifier
from tests.fakes import FakeVerifier, make_prompt, make_sample, plug_in


@pytest.fixture(autouse=True)
def _fake_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, "verifiers", "fake", FakeVerifier)


def _settings(**fields: object) -> VerifierSettings:
    return VerifierSettings(type="fake", **fields)


def test_settings_become_arguments() -> None:
    """Settings of the same name, and options, reach the constructor."""
    verifier = make_verifier(_settings(timeout=7, max_workers=3, options={"bonus": 0.25}))
    assert isinstance(verifier, FakeVerifier)
    assert (verifier.timeout, verifier.max_workers, verifier.bonus) == (7, 3, 0.25)


def test_defaults_of_settings_ask_for_nothing() -> None:
    """A verifier that knows none of the other settings can be made with their defaults."""
    assert make_verifier(_settings()).max_workers >= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run_timeout", 6),
        ("language", "cpp"),
        ("warn_as_error", True),
        ("run_after_compile", False),
    ],
)
def test_setting_without_meaning_is_refused_by_name(name: str, value: object) -> None:
    """A setting that the verifier does not take is named, not dropped in silence."""
    with pytest.raises(UserError, match=f"verifier.{name}: means nothing to verifier 'fake'"):
        make_verifier(_settings(**{name: value}))


def test_unknown_option_is_refused_with_the_known_ones() -> None:
    """An option that the constructor lacks is named, with those it takes."""
    with pytest.raises(UserError, match=r"verifier\.options\.bonsu: unknown") as caught:
        make_verifier(_settings(options={"bonsu": 0.25}))
    assert "bonus, max_workers, score_hidden, timeout" in str(caught.value)


def test_value_that_the_verifier_refuses() -> None:
    """What the constructor says about a value is passed on as the user's to mend."""
    with pytest.raises(UserError, match="verifier 'fake': bonus must not be negative, got -1"):
        make_verifier(_settings(options={"bonus": -1}))


def test_unknown_verifier_lists_names_and_the_nearest() -> None:
    """A misspelled name gets the nearest and all that are registered, plug-ins too."""
    with pytest.raises(UserError, match="unknown verifier 'execuiton'") as caught:
        make_verifier(VerifierSettings(type="execuiton"))
    assert "Did you mean 'execution'?" in str(caught.value)
    assert "execution, fake, gcc" in str(caught.value)


@pytest.mark.parametrize("wanted", [True, False])
def test_hidden_tests_are_scored_on_request(wanted: bool) -> None:
    """Hidden tests are switched on for those who ask, where the verifier can."""
    verifier = make_verifier(_settings(), score_hidden=wanted)
    assert isinstance(verifier, FakeVerifier)
    assert verifier.score_hidden is wanted


class _Plain(FakeVerifier):
    """A verifier that takes nothing at all."""

    def __init__(self) -> None:
        super().__init__()


def test_verifier_without_hidden_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that knows no hidden tests is made all the same."""
    plug_in(monkeypatch, "verifiers", "plain", _Plain)
    verifier = make_verifier(VerifierSettings(type="plain"), score_hidden=True)
    assert isinstance(verifier, _Plain)


def test_chain_from_settings() -> None:
    """Stages are written like the section itself and inherit the limits of the whole."""
    stages = [{"type": "fake", "timeout": 3, "options": {"bonus": 0.5}}, {"type": "fake"}]
    settings = VerifierSettings(
        type="chained", timeout=9, options={"verifiers": stages, "weights": [0.25, 0.75]}
    )
    chain = make_verifier(settings, score_hidden=True)
    assert isinstance(chain, ChainedVerifier)
    one, two = chain.stages
    assert isinstance(one, FakeVerifier)
    assert isinstance(two, FakeVerifier)
    assert [(s.timeout, s.bonus, s.score_hidden) for s in (one, two)] == [
        (3, 0.5, True),
        (9, 0.0, True),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs a list of stages"),
        ({"verifiers": "gcc"}, "needs a list of stages"),
        ({"verifiers": ["gcc"]}, "needs a list of stages"),
        ({"verifiers": []}, "at least one"),
        ({"verifiers": [{"type": "fake"}], "weights": [0.5]}, "sum to 1"),
        ({"verifiers": [{"type": "fake"}], "wieghts": [1]}, "wieghts"),
        ({"verifiers": [{"type": "fak"}]}, "Did you mean 'fake'"),
        ({"verifiers": [{"type": "fake", "timeot": 3}]}, "timeot"),
    ],
)
def test_wrong_chain(options: dict[str, object], said: str) -> None:
    """What is wrong with the stages is said."""
    with pytest.raises(UserError, match=said):
        make_verifier(VerifierSettings(type="chained", options=options))


def test_command_reaches_the_verifier_that_takes_one() -> None:
    """`verifier.command` is for the subprocess verifier, which cannot do without."""
    with pytest.raises(UserError, match="command"):
        make_verifier(VerifierSettings(type="subprocess"))
    with pytest.raises(UserError, match="means nothing to verifier 'fake'"):
        make_verifier(_settings(command="cat {file}"))
    made = make_verifier(VerifierSettings(type="subprocess", command="cat {file}"))
    assert isinstance(made, SubprocessVerifier)


@pytest.mark.parametrize("settings", [{"unsafe_no_sandbox": True}, {"require_sandbox": ["files"]}])
def test_sandbox_settings_need_a_sandbox(settings: dict[str, object]) -> None:
    """A verifier that runs nothing cannot be asked how it confines."""
    with pytest.raises(UserError, match="has no sandbox"):
        make_verifier(_settings(**settings))


def test_required_guarantees_reach_the_sandbox() -> None:
    """What is required is checked when the sandbox opens: unknown names, and what does not hold."""
    wrong = VerifierSettings(type="gcc", require_sandbox=("networks",))
    with make_verifier(wrong) as verifier, pytest.raises(UserError, match="'networks'"):
        verifier.start()
    with make_verifier(VerifierSettings(type="gcc", require_sandbox=("files", "network"))) as one:
        one.start()


_NICE = "import os\nprint(os.getpriority(os.PRIO_PROCESS, 0))"


@pytest.mark.parametrize(
    ("fields", "level"), [({}, 10), ({"niceness": 12}, 12), ({"niceness": 0}, 0)]
)
def test_programs_step_back(fields: dict[str, int], level: int) -> None:
    """Programs run at the nice level of the settings, the trainer itself as before."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    prompt = make_prompt(
        language="python", reference=Reference(tests=(TestCase("", f"{before + level}\n"),))
    )
    with make_verifier(VerifierSettings(type="execution", **fields)) as verifier:
        result = verifier.judge(make_sample(prompt, completion=f"```python\n{_NICE}\n```"))
    assert result.success, result
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_niceness_needs_a_sandbox() -> None:
    """A verifier that starts nothing is not asked to step back in vain."""
    with pytest.raises(UserError, match="niceness: means nothing to verifier 'fake'"):
        make_verifier(_settings(niceness=5))


def test_a_file_for_verdicts_reaches_every_stage(tmp_path, monkeypatch) -> None:
    """The file is shared by the stages; a verifier that remembers nothing refuses it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    stages = {"verifiers": [{"type": "python"}, {"type": "execution"}]}
    fields = {"verdict_cache": str(tmp_path / "verdicts")}
    with make_verifier(VerifierSettings(type="chained", options=stages, **fields)) as chain:
        assert isinstance(chain, ChainedVerifier)
        assert all(stage.cache._file is not None for stage in chain.stages)
    with pytest.raises(UserError, match="verdict_cache: means nothing to verifier 'fake'"):
        make_verifier(_settings(**fields))
