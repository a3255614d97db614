"""What the templates of chat_templates/ are rendered with: messages as clients send them, and the other variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "chat_templates"
GOLDEN = Path(__file__).parent / "golden.json"
TODAY = (2026, 3, 7, 14, 5, 9)  # what strftime_now tells
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

Json = dict[str, Any]


def system(text: Any) -> Json:
    return {"role": "system", "content": text}


def user(text: Any) -> Json:
    return {"role": "user", "content": text}


def assistant(text: Any, **more: Any) -> Json:
    return {"role": "assistant", "content": text, **more}


def called(ident: str, name: str, arguments: Any) -> Json:
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(ident: str, text: str) -> Json:
    return {"role": "tool", "tool_call_id": ident, "name": "get_weather", "content": text}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "How warm it is <b>now</b> & later in Zürich",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "A town"},
                    "unit": {"type": "string", "enum": ["°C", "°F"]},
                    "days": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["place"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds",
            "parameters": {"type": "object", "properties": {"b": {"type": "number"}, "a": {"type": "number"}}},
        },
    },
]
DOCUMENTS = [
    {"title": "Notes", "text": "first line\nsecond line, which is longer than the first"},
    {"title": "Überblick", "text": "日本 \"quoted\" 'text' <i>&</i>"},
]
PLAIN = [system("Be brief."), user("Hi"), assistant("Hello!"), user("What is 2+2?")]
PARTS = [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": " what is it?"}]
ODD = "Zoë ☃ 😀 日本語 \u2028 <b>&amp;</b> \"double\" 'single' \\n {{ x }} {% if %}"
TWO_CALLS = [
    called("callAAAA1", "get_weather", {"place": "Zürich", "unit": "°C", "days": [1, 2]}),
    called("callBBBB2", "add", {"b": 1.5, "a": -2}),
]
THOUGHT = "<think>\nlet me see\n</think>\n\nFour."

CONVERSATIONS: dict[str, Json] = {
    "one": {"messages": [user("Hi")]},
    "turns": {"messages": PLAIN},
    "closed": {"messages": [*PLAIN, assistant("4")], "add_generation_prompt": False},
    "parts": {"messages": [user(PARTS)]},
    "tools": {"messages": PLAIN, "tools": TOOLS, "enable_thinking": False},
    "calls": {
        "messages": [
            user("How warm?"),
            assistant("", tool_calls=TWO_CALLS),
            result("callAAAA1", '{"t": 21.5}'),
            result("callBBBB2", "-0.5"),
        ],
        "tools": TOOLS,
    },
    "call in text": {
        "messages": [
            system("S"),
            user("How warm?"),
            assistant(None, tool_calls=[called("callAAAA1", "get_weather", '{"place": "Zürich"}')]),
            result("callAAAA1", "21"),
            assistant("It is 21 degrees."),
            user("Thanks"),
        ],
        "tools": TOOLS,
    },
    "unicode": {"messages": [system(ODD), user(ODD), assistant(ODD), user("é")], "documents": DOCUMENTS},
    "thoughts": {
        "messages": [
            user("2+2?"),
            assistant(THOUGHT),
            user("Sure?"),
            assistant("Yes.", reasoning_content="quite sure", thinking="quite sure"),
        ],
        "add_generation_prompt": False,
    },
    "switches": {
        "messages": PLAIN[1:],
        "enable_thinking": True,
        "thinking": True,
        "reasoning_effort": "high",
        "date_string": "01 Jan 2020",
    },
    "white space": {"messages": [system(" \n S \t\n"), user("  a\n\n\n b  "), assistant("\n"), user("")]},
    "nobody": {"messages": []},
}


def variables(conversation: Json) -> Json:
    return {"tools": None, "documents": None, "add_generation_prompt": True, **TOKENS, **conversation}
