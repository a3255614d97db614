"""What is put into the fields of requests: sound bodies, odd values, and those that a rule beyond types refuses."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

MESSAGES = [{"role": "user", "content": "Hi"}]
SOUND: dict[str, Json] = {  # by Struct: bodies that would be served, and be noticed by others
    "CompletionRequest": {"prompt": "Hi", "n_predict": 1, "system_prompt": {"prompt": "Be rude."}},
    "InfillRequest": {"input_prefix": "a", "n_predict": 1, "system_prompt": {"prompt": "Be rude."}},
    "TextRequest": {"prompt": "Hi", "max_tokens": 1},
    "ChatRequest": {"messages": MESSAGES, "max_tokens": 1},
    "TokenizeRequest": {"content": "Hi"},
    "DetokenizeRequest": {"tokens": [1]},
    "PropsRequest": {"user_name": "User:"},
    "SlotFileRequest": {"filename": "a"},
}
ODD: list[Any] = [  # some of which every field refuses
    *(True, False, 0, 1, -1, 1.5, -0.5, 2**31, -(2**31) - 1, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, -1e308),
    *("", "a", "1", "true", "\0", "\U0001f600" * 9, "a" * 70_000),
    *([], [[]], [None], [1.5], [True], ["a", None], [{}], [[1], 2], [-1], [2**63], ["a"] * 5000, list(range(3000))),
    *(
        {},
        {"a": 1},
        {"": None},
        {"prompt_string": 1},
        {"type": 1},
        {"role": "user"},
        {"text": []},
        {"include_usage": 2},
    ),
]
BY_RULE: dict[str, list[Any]] = {  # what the schemas allow and the routes that generate refuse
    "logit_bias": [
        *(
            [[1]],
            [[1, "x"]],
            [[1, True]],
            [[1, 100.5]],
            [[-1, 1]],
            [[10**9, 1]],
            [[1.5, 1]],
            [["", 1]],
            [["a" * 65, 1]],
        ),
        *({"a": "b"}, {"": 1}, {"-1": 1}, {"1": None}, [[1, 1]] * 1025, [1], ["a"], [None], [[[1], 1]], [[1, 10**400]]),
    ],
    "samplers": ["?", "kk", "k\0", ["nope"], ["top_k", "top-k"], [""], ["top_k"] * 5000],
    "stop": ["", [""], ["a"] * 17, "a" * 257, "\U0001f600" * 65],
    "dry_sequence_breakers": [[], [""], ["a"] * 17, ["a" * 65], ["\U0001f600" * 17]],
    "penalty_prompt": [[-1], [1.5], ["a"], [10**9], [True], [None], [[1]], [10**400], [1] * 70_000],
    "id_slot": [1000, 2**31 - 1],
    "slot_id": [1000, 2**31 - 1],
    "n": [256],
    "n_cmpl": [256],
    "best_of": [256],
    "prompt": [[10**9], [-1], [10**400], [2**31], ["a", 1.5], "a " * 3000, [1] * 3000],
    "input_prefix": [[10**9], [-1], [2**64]],
    "input_suffix": [[10**9], [-1], [2**64]],
    "input_extra": [[{}] * 5000],
}
IN_CHATS: dict[str, list[Any]] = {  # ... and those that only render a chat
    "messages": [
        *([], [{"role": "nobody", "content": "a"}], [{"role": "user"}], [{"role": "tool", "content": "a"}]),
        *([{"role": "user", "content": [{"type": "text"}]}], [{"role": "user", "content": [{"type": "image_url"}]}]),
        *([{"role": "user", "content": "a", "tool_calls": [1]}], MESSAGES * 4097),
    ],
    "chat_template_kwargs": [
        *({"messages": 1}, {"1a": 1}, {"": 1}, {"enable_thinking": 1}, {"a": "a" * 70_000}, {"a\0": 1}),
        {f"a{n}": n for n in range(33)},
    ],
    "continue_final_message": ["x", "reasoning_content", True],
}
BY_NAME: dict[str, list[Any]] = {  # ... and everybody
    "filename": ["", ".", "..", "a/b", "/a", "a\0", "a" * 129, "\u00e9", "a\nb", "../a"],
    "tokens": [[-1], [10**9], [2**31], [2**64], [10**400]],
    "content": [[10**9], [-1], [10**400]],
}
ASKING: list[Any] = [True, 1, 7, "a", ["a"], [1], [{"a": 1}], {"a": 1}, {"type": "a"}]
RAW = [  # values that are no JSON, or not ours
    *(b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b".5", b"1.", b"0x10", b"nul", b"'a'"),
    *(
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'["\\ud800"]',
        b'{"\\udfff":1}',
        b'"\\x"',
        b'"\n"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
    ),
    *(b"[" * 5000, b'{"a":' * 5000, b"[" * 100 + b"]" * 100, b"[" * 100_000 + b"]" * 100_000, b'"', b"{", b"[1,]", b""),
]
