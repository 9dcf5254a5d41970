"""Requests: what is said in them, and what their names depend on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from halo_forge.config.generate import GenerateConfig
from halo_forge.data.llm.pace import Pace
from halo_forge.data.llm.requests import parameters, plan_requests, schema_of
from halo_forge.data.llm.topics import load_topic, shipped_topics

TOPIC = load_topic("cpp_algorithms")


def ids(topic: Any = TOPIC, **settings: Any) -> list[str]:
    """Names of all requests."""
    return [request.id for request in plan_requests(topic, GenerateConfig(**settings))]


def test_names_are_unique_and_stay() -> None:
    """More items keep those there were; a new idea or model asks for new ones."""
    few, more = ids(count=1), ids(count=3)
    assert len(set(more)) == len(more) == 3 * len(few)
    assert more[: len(few)] == few
    assert ids(count=1) == few
    assert not set(few) & set(ids(count=1, model="other"))
    assert not set(few) & set(ids(TOPIC.model_copy(update={"task": "Another."}), count=1))
    assert ids(count=1, generation={"max_new_tokens": 9, "structured": "none"}) == few


@pytest.mark.parametrize("name", shipped_topics())
def test_what_is_said(name: str) -> None:
    """Category, difficulty, theme, rules and keys are there; neighbours differ in their theme."""
    topic = load_topic(name)
    requests = plan_requests(topic, GenerateConfig())
    assert len(requests) == len(topic.categories) * len(topic.difficulties) * topic.count
    for request in requests:
        assert topic.categories[request.category] in request.user
        assert topic.difficulties[request.difficulty] in request.user
        assert all(rule in request.user for rule in topic.rules)
        assert all(f'"{key}"' in request.user for key in schema_of(topic)["required"])
    pairs: dict[tuple[str, int], set[str]] = {}
    for request in requests:
        theme = next(line for line in request.user.splitlines() if line.startswith("Theme: "))
        pairs.setdefault((request.category, request.difficulty), set()).add(theme)
    assert {len(themes) for themes in pairs.values()} == {topic.count}
    assert len(set().union(*pairs.values())) > len(topic.themes) / 2


def test_parameters() -> None:
    """Each setting has its place in the protocol; what is not set is not sent."""
    (request, *_) = plan_requests(TOPIC, GenerateConfig())
    plain = parameters(request, TOPIC, GenerateConfig(generation={"structured": "none"}))
    assert plain.keys() == {"messages", "max_tokens", "seed"}
    assert [turn["role"] for turn in plain["messages"]] == ["system", "user"]
    server = {"send_seed": False, "token_limit": "max_completion_tokens"}
    config = GenerateConfig(generation={"temperature": 0.5, "server": server})
    told = parameters(request, TOPIC, config)
    assert told["temperature"] == 0.5
    assert told["max_completion_tokens"] == 4096
    assert "seed" not in told
    form = told["response_format"]
    assert (form["type"], form["json_schema"]["strict"]) == ("json_schema", True)
    schema = json.dumps(form["json_schema"]["schema"])
    assert schema.count('"additionalProperties": false') == 2


def test_pace() -> None:
    """Requests are a gap apart, whatever the answers take; without a number nothing waits."""
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(30, lambda: now[0], sleep)
    times = []
    for work in (0.5, 0.0, 7.0, 0.0):
        pace.wait()
        times.append(now[0])
        now[0] += work
    assert times == [100.0, 102.0, 104.0, 111.0]
    free = Pace(None, lambda: now[0], sleep)
    slept.clear()
    for _ in range(3):
        free.wait()
    assert slept == []
