"""From a topic to the requests that are to be made, each with a name of its own. Pure.

One request asks for a statement, its reference solution and its tests together, so that they
match. A request's id is a digest of everything that is said in it and of the model it is said to;
so a topic that is changed gives new requests, and one that is extended keeps those it had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from halo_forge.config.generate import GenerateConfig, TopicConfig
from halo_forge.core.identity import content_id, derive_seed

__all__ = ["ItemRequest", "parameters", "plan_requests", "schema_of"]

_SEED_BITS = 0x7FFF_FFFF  # llama.cpp reads no more
_NAME = "programming_task"

_SYSTEM = (
    "You write programming tasks for training data. Every task comes with a reference solution "
    "and tests. A machine runs the solution on the tests and throws the task away if one test "
    "fails, or if a program that does nothing passes them. So work out every expected value with "
    "care, and prefer small exact tests. Reply with one JSON object and nothing else: no Markdown, "
    "no comments."
)
_FIELDS = {
    "cases": (
        '{"statement": "the task, complete and exact, without the solution", '
        '"solution": "the whole program", '
        '"tests": [{"input": "text on standard input", "expected": "text on standard output"}]}'
    ),
    "code": (
        '{"statement": "the task, complete and exact, without the solution", '
        '"entry_point": "name of the function or class", '
        '"solution": "the whole source code", '
        '"tests": "source code of the pytest functions"}'
    ),
}
_TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True)
class ItemRequest:
    """One item that is asked for.

    Attributes:
        id: ``TOPIC-DIGEST``; the item's id as well.
        category: Of the topic.
        difficulty: 1 (easiest) to 5.
        system: The system message.
        user: The user's message.
        seed: Of the server's sampling, 31 bits.
    """

    id: str
    category: str
    difficulty: int
    system: str
    user: str
    seed: int


def plan_requests(topic: TopicConfig, config: GenerateConfig) -> list[ItemRequest]:
    """Return every request of a topic: round by round over difficulties and categories.

    Whatever ends the run early, a budget say, leaves the categories nearly even.
    """
    return [
        _request(topic, config, category, difficulty, number)
        for number in range(config.count or topic.count)
        for difficulty in sorted(topic.difficulties)
        for category in topic.categories
    ]


def parameters(request: ItemRequest, topic: TopicConfig, config: GenerateConfig) -> dict[str, Any]:
    """Return what the endpoint of the configured protocol takes."""
    ask = config.generation
    if config.protocol == "anthropic":
        asked: dict[str, Any] = {
            "system": request.system,
            "messages": [{"role": "user", "content": request.user}],
            "max_tokens": ask.max_new_tokens,
        }
        if ask.structured == "schema":
            form = {"type": "json_schema", "schema": schema_of(topic)}
            asked["output_config"] = {"format": form}
        return asked
    asked = {
        "messages": [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.user},
        ],
        ask.server.token_limit: ask.max_new_tokens,
    }
    if ask.temperature is not None:
        asked["temperature"] = ask.temperature
    if ask.server.send_seed:
        asked["seed"] = request.seed
    if ask.structured == "schema":
        schema = {"name": _NAME, "strict": True, "schema": schema_of(topic)}
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif ask.structured == "object":
        asked["response_format"] = {"type": "json_object"}
    return asked


def schema_of(topic: TopicConfig) -> dict[str, Any]:
    """Return the JSON schema of an item: objects without optional or further keys."""
    if topic.tests == "code":
        return _object(statement=_TEXT, entry_point=_TEXT, solution=_TEXT, tests=_TEXT)
    case = _object(input=_TEXT, expected=_TEXT)
    return _object(statement=_TEXT, solution=_TEXT, tests={"type": "array", "items": case})


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _request(
    topic: TopicConfig, config: GenerateConfig, category: str, difficulty: int, number: int
) -> ItemRequest:
    place = (topic.name, category, difficulty)
    lines = [
        topic.task,
        "",
        f"Category: {category.replace('_', ' ')} ({topic.categories[category]}).",
        f"Difficulty {difficulty} of 1 to 5: {topic.difficulties[difficulty]}.",
    ]
    if topic.themes:
        # Neighbours get different themes, whatever the seed.
        at = (derive_seed(config.seed, *place) + number) % len(topic.themes)
        lines.append(f"Theme: {topic.themes[at]}.")
    lines += [
        f"Task {number + 1} of its kind: take an idea that is not the first to come to mind.",
        "",
        "Rules:",
        *(f"- {rule}" for rule in topic.rules),
    ]
    if topic.tests == "cases":
        lines.append(f"- At least {topic.min_tests} tests.")
    lines += ["", "The JSON object has these keys:", _FIELDS[topic.tests]]
    user = "\n".join(lines)
    said = [config.model, config.generation.temperature, config.seed, _SYSTEM, user]
    return ItemRequest(
        id=f"{topic.name}-{content_id(said)}",
        category=category,
        difficulty=difficulty,
        system=_SYSTEM,
        user=user,
        seed=derive_seed(config.seed, *place, number) & _SEED_BITS,
    )
