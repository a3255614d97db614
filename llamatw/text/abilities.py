"""What a chat template can do, found out by rendering words that cannot be there by chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llamatw.errors import TemplateRejected

Render = Callable[..., str]  # messages, and tools

_NEEDLE, _OTHER = "xq7needle", "xq8needle"
_ASK: dict[str, Any] = {"role": "user", "content": "Hello"}


def _tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    return {"type": "function", "function": {"name": name, "description": "A tool", "parameters": parameters}}


def _calls(*names: str) -> list[dict[str, Any]]:
    calls = [
        {"id": f"call{index}abcd", "type": "function", "function": {"name": name, "arguments": {"a": "b"}}}
        for index, name in enumerate(names)
    ]
    return [_ASK, {"role": "assistant", "content": "", "tool_calls": calls}]


_PARTS = [{"role": "user", "content": [{"type": "text", "text": _NEEDLE}]}]
_REASONING = [_ASK, {"role": "assistant", "content": "Hi", "reasoning_content": _NEEDLE}, _ASK]

# ability: messages, tools, the words that must come out
_PROBES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None, tuple[str, ...]]] = {
    "supports_string_content": ([{"role": "user", "content": _NEEDLE}], None, (_NEEDLE,)),
    "supports_typed_content": (_PARTS, None, (_NEEDLE,)),
    "supports_system_role": ([{"role": "system", "content": _NEEDLE}, _ASK], None, (_NEEDLE,)),
    "supports_tools": ([_ASK], [_tool(_NEEDLE)], (_NEEDLE,)),
    "supports_tool_calls": (_calls(_NEEDLE), [_tool("t")], (_NEEDLE,)),
    "supports_parallel_tool_calls": (_calls(_NEEDLE, _OTHER), [_tool("t")], (_NEEDLE, _OTHER)),
    "supports_preserve_reasoning": (_REASONING, None, (_NEEDLE,)),
}
_AS_PYTHON = "'type': 'text'"  # a list of parts that was shown as it is, not understood


def probe(render: Render, is_costly: Callable[[TemplateRejected], bool]) -> dict[str, bool]:
    """Every ability.  A template that takes too long once is not asked again."""
    found = dict.fromkeys(_PROBES, False)
    for ability, (messages, tools, words) in _PROBES.items():
        try:
            text = render(messages, tools)
        except TemplateRejected as error:
            if is_costly(error):
                break
            continue
        found[ability] = all(word in text for word in words) and _AS_PYTHON not in text
    return found
