"""SGD's services as tools: one intent is one Tool, every slot a string as the data set has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput
from callgrain.core.rows import read_json
from callgrain.core.types import Json, Tool

DISTRACTORS = 3
"""Intents of other services that are offered beside a dialogue's own."""


@dataclass(frozen=True)
class Intent:
    """One intent of a service, as a tool under its plain name."""

    service: str
    name: str
    tool: Tool
    required: frozenset[str]


class Services:
    """Every service of a split's schema.json. Raises BadInput where it is not SGD's layout."""

    def __init__(self, path: Path) -> None:
        self.intents: dict[tuple[str, str], Intent] = {}
        self.of: dict[str, list[Intent]] = {}
        self.closed: dict[tuple[str, str], frozenset[str]] = {}
        found = read_json(path)
        try:
            for service in found:
                self._add(service)
        except (KeyError, TypeError, AttributeError) as error:
            what = f"{path} is no schema of SGD: {type(error).__name__} {error}"
            raise BadInput(what, "take schema.json of dstc8-schema-guided-dialogue") from error
        if not self.intents:
            raise BadInput(f"{path} holds no service", "take schema.json of dstc8-schema-guided-dialogue")

    def _add(self, service: dict[str, Any]) -> None:
        name: str = service["service_name"]
        slots: dict[str, dict[str, Any]] = {slot["name"]: slot for slot in service["slots"]}
        for slot in slots.values():
            if slot["is_categorical"] and slot["possible_values"]:
                self.closed[name, slot["name"]] = frozenset(slot["possible_values"])
        for raw in service["intents"]:
            tool = _tool(raw, slots)
            intent = Intent(name, raw["name"], tool, frozenset(raw["required_slots"]))
            self.intents[name, raw["name"]] = intent
            self.of.setdefault(name, []).append(intent)

    def offer(self, services: list[str], seed: str, without: frozenset[str]) -> dict[tuple[str, str], Tool]:
        """Tools of `services` and a few others, shuffled by `seed`, keyed by (service, intent).

        A name that two of the services share is told apart by its service. Raises KeyError
        for a service that the schema does not have.
        """
        own = [intent for service in services for intent in self.of[service]]
        names = [intent.name for intent in own]
        chosen: dict[tuple[str, str], Tool] = {}
        for intent in own:
            twin = names.count(intent.name) > 1
            named = intent.tool.model_copy(update={"name": f"{intent.service}_{intent.name}"}) if twin else intent.tool
            chosen[intent.service, intent.name] = named
        rng = Random(text_key("sgd", "tools", seed))
        others = [i for i in self.intents.values() if i.service not in services and i.service not in without]
        rng.shuffle(others)
        taken = set(names)
        for intent in others:
            if len(chosen) >= len(own) + DISTRACTORS:
                break
            if intent.name not in taken:
                taken.add(intent.name)
                chosen[intent.service, intent.name] = intent.tool
        keys = list(chosen)
        rng.shuffle(keys)
        return {key: chosen[key] for key in keys}


def _tool(raw: dict[str, Any], slots: dict[str, dict[str, Any]]) -> Tool:
    properties: dict[str, Json] = {slot: _slot(slots[slot]) for slot in raw["required_slots"]}
    for slot, default in raw["optional_slots"].items():
        properties[slot] = _slot(slots[slot])
        if default != "dontcare":  # "dontcare" is no value of the slot; it means that none is given
            properties[slot]["default"] = default
    items = {slot: {"type": "string", "description": slots[slot]["description"]} for slot in raw["result_slots"]}
    listed = {"type": "array", "items": {"type": "object", "properties": items}}
    return Tool(
        name=raw["name"],
        description=raw["description"],
        parameters={"type": "object", "properties": properties, "required": list(raw["required_slots"])},
        returns={"type": "object", "properties": {"count": {"type": "integer"}, "items": listed}},
        mutates="yes" if raw["is_transactional"] else "no",
    )


def _slot(slot: dict[str, Any]) -> dict[str, Json]:
    schema: dict[str, Json] = {"type": "string", "description": slot["description"]}
    if slot["is_categorical"] and slot["possible_values"]:
        schema["enum"] = list(slot["possible_values"])
    return schema
