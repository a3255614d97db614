"""What a chat template can do, found out by rendering words that cannot be there by chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llamatw.errors import TemplateRejected

Render = Callable[..., str]  # messages, and variables by name

_NEEDLE, _OTHER = "xq7needle", "xq8needle"
_ASK: dict[str, Any] = {"role": "user", "content": "Hello"}


def _tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    return {"type": "function", "function": {"name": name, "description": "A tool", "parameters": parameters}}


def _calls(arguments: dict[str, str] | str, *names: str) -> list[dict[str, Any]]:
    calls = [
        {"id": f"call{index}abcd", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, name in enumerate(names)
    ]
    return [_ASK, {"role": "assistant", "content": "", "tool_calls": calls}]


_TOOLS = {"tools": [_tool("t")]}

_CONTENTS: dict[str, list[dict[str, Any]]] = {
    "supports_string_content": [{"role": "user", "content": _NEEDLE}],
    "supports_typed_content": [{"role": "user", "content": [{"type": "text", "text": _NEEDLE}]}],
    "supports_system_role": [{"role": "system", "content": _NEEDLE}, _ASK],
    "supports_preserve_reasoning": [_ASK, {"role": "assistant", "content": "Hi", "reasoning_content": _NEEDLE}, _ASK],
}
# ability, messages, variables, the words that must come out; one success of several is enough
_PROBES: list[tuple[str, list[dict[str, Any]], dict[str, Any], tuple[str, ...]]] = [
    *((ability, messages, {}, (_NEEDLE,)) for ability, messages in _CONTENTS.items()),
    *((ability, messages, _TOOLS, (_NEEDLE,)) for ability, messages in _CONTENTS.items()),  # some need tools
    ("supports_tools", [_ASK], {"tools": [_tool(_NEEDLE)]}, (_NEEDLE,)),
    ("supports_tools", [{"role": "system", "content": "S"}, _ASK], {"tools": [_tool(_NEEDLE)]}, (_NEEDLE,)),
    ("supports_tool_calls", _calls({"a": "b"}, _NEEDLE), _TOOLS, (_NEEDLE,)),
    ("supports_tool_calls", _calls('{"a": "b"}', _NEEDLE), _TOOLS, (_NEEDLE,)),
    ("supports_parallel_tool_calls", _calls({"a": "b"}, _NEEDLE, _OTHER), _TOOLS, (_NEEDLE, _OTHER)),
    ("supports_parallel_tool_calls", _calls('{"a": "b"}', _NEEDLE, _OTHER), _TOOLS, (_NEEDLE, _OTHER)),
    ("supports_object_arguments", _calls({"a": _NEEDLE}, "f"), _TOOLS, (_NEEDLE,)),
]
# Parts of a message, or arguments of a call, that were shown as they are: not understood.
_RAW = ("'type': 'text'", '"type": "text"', "{'a': 'xq")


def probe(render: Render, is_costly: Callable[[TemplateRejected], bool]) -> dict[str, bool]:
    """Every ability.  A template that takes too long once is not asked again."""
    found = dict.fromkeys([ability for ability, *_ in _PROBES], False) | {"supports_reasoning_effort": False}

    def attempt(messages: list[dict[str, Any]], variables: dict[str, Any], asks: bool = False) -> str:
        try:
            return render(messages, add_generation_prompt=asks, **variables).lower()
        except TemplateRejected as error:
            if is_costly(error):
                raise
            return ""

    try:
        for ability, messages, variables, words in _PROBES:
            text = attempt(messages, variables)
            found[ability] |= all(word in text for word in words) and not any(raw in text for raw in _RAW)
        low, high = (attempt([_ASK], {"reasoning_effort": effort} | _TOOLS, asks=True) for effort in ("low", "high"))
        found["supports_reasoning_effort"] = low != high
    except TemplateRejected:
        pass
    return found
