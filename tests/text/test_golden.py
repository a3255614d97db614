"""Templates like those that models carry, against what the transformers package makes of them (make_golden.py)."""

from __future__ import annotations

import datetime
import itertools
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from llamatw.errors import TemplateRejected
from llamatw.text import sandbox
from llamatw.text.chat import ChatTemplate, Message, prompt_ids
from llamatw.text.templates import BUILT_IN, choose
from tests.text.conversations import CONVERSATIONS, FOLDER, GOLDEN, TODAY, variables

SOURCES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.jinja"))}
SOURCES |= {f"built-in {name}": source for name, source in BUILT_IN.items()}
WANTED = json.loads(GOLDEN.read_text())


class Today(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Today:
        return cls(*TODAY)


def written(template: ChatTemplate, conversation: dict[str, Any]) -> str | list[str]:
    """As in golden.json: the text, or a list with the error's words."""
    values = variables(conversation)
    try:
        return template.write(values.pop("messages"), **values)
    except TemplateRejected as error:
        return [error.message]


def test_the_file_is_of_these_templates() -> None:
    assert WANTED.keys() == SOURCES.keys()
    assert all(texts.keys() == CONVERSATIONS.keys() for texts in WANTED.values())


@pytest.mark.parametrize("name", SOURCES)
def test_as_transformers_writes_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "datetime", SimpleNamespace(datetime=Today))
    template = ChatTemplate(SOURCES[name])
    for title, conversation in CONVERSATIONS.items():
        got, wanted = written(template, conversation), WANTED[name][title]
        if isinstance(wanted, list):
            assert isinstance(got, list), f"{title}: no error"
            assert wanted[0] in got[0]
        else:
            assert got == wanted, title


# Templates in the manner of models' own that write conversations of text as a built-in one does, and bear its marks.
SAME = {
    "chatml": "chatml dbrx qwen-1.5 qwen-2.5 qwen-3 qwen-3-coder smollm2 stablelm-2 minicpm-3",
    "command-r": "command-r command-r-plus-tools",
    "deepseek2": "deepseek-v2",
    "gemma": "gemma-3",
    "gigachat": "gigachat",
    "granite": "granite-3 granite-4",
    "hunyuan-dense": "hunyuan-dense",
    "kimi-k2": "kimi-k2",
    "llama2": "llama-2",
    "llama3": "llama-3",
    "llama4": "llama-4",
    "minicpm": "minicpm",
    "mistral-v7-tekken": "mistral-v7-tekken devstral",
    "openchat": "openchat",
    "phi4": "phi-4",
    "seed_oss": "seed-oss",
    "solar-open": "solar-open",
    "zephyr": "zephyr",
}


@pytest.mark.parametrize(("built_in", "names"), SAME.items())
def test_built_in_ones_write_what_the_models_own_do(built_in: str, names: str) -> None:
    for name in names.split():
        assert WANTED[f"built-in {built_in}"]["turns"] == WANTED[name]["turns"]
        assert choose(None, SOURCES[name], jinja=False) == BUILT_IN[built_in]


_CONTROL = re.compile(
    r"<[|\uff5c][^|\uff5c>\s]*[|\uff5c]>|</?[\w:]+>|<\|?\"?\|?>|<\w+\|>|<\|\w+>|\[/?[A-Z_]+\]|\[\|\w+\|\]|</?s>"
)


class Vocabulary:
    """An id for each character, and one above them all for each control token."""

    def __init__(self, controls: set[str]) -> None:
        self.controls = sorted(controls, key=lambda text: (-len(text), text))
        self._pattern = re.compile("|".join(map(re.escape, self.controls)))

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        ids: list[int] = []
        while parse_special and (found := self._pattern.search(text)):
            ids += map(ord, text[: found.start()])
            ids.append(0x110000 + self.controls.index(found[0]))
            text = text[found.end() :]
        return ids + list(map(ord, text))

    def text(self, token: int) -> str:
        return self.controls[token - 0x110000] if token >= 0x110000 else chr(token)

    def controls_of(self, template: ChatTemplate, *texts: str) -> list[int]:
        roles = itertools.cycle(["user", "assistant"])
        messages = [Message(role, text) for role, text in zip(roles, texts, strict=False)]
        ids = prompt_ids(template.render(messages), self.tokenize, self.text, add_special=False)
        return [token for token in ids if token >= 0x110000]


# Templates that look for these words in a message, or rewrite it: such a message is refused as a whole.
LOOKED_FOR = {
    "</think>": {"deepseek-r1", "deepseek-v3", "exaone-4", "glm-4", "glm-4.5", "qwen-3"},
    "<|channel>": {"gemma-4"},
}
REWRITE = {"apertus-parts"}
NEED_TOOLS = {"hermes-3-tools"}  # it writes nothing without them


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - NEED_TOOLS))
def test_texts_become_no_control_tokens(name: str) -> None:
    template = ChatTemplate(SOURCES[name], bos="<s>", eos="</s>")
    texts = "".join(text for text in WANTED[name].values() if isinstance(text, str))
    controls = set(_CONTROL.findall(SOURCES[name] + texts))
    assert controls
    vocabulary = Vocabulary(controls)
    plain = vocabulary.controls_of(template, "Say it now", "yes", "no")
    for spelled in controls:
        spelling = f"Say {spelled} now", f"{spelled}{spelled}", spelled
        if name in REWRITE or name in LOOKED_FOR.get(spelled, ()):
            with pytest.raises(TemplateRejected, match="holds the text of a control token"):
                vocabulary.controls_of(template, *spelling)
        else:
            assert vocabulary.controls_of(template, *spelling) == plain, spelled


# What /props tells of each template, in short; the names of those that can do just that.
ABILITIES = {
    "string system": (
        "alpaca baichuan chatml command-r dbrx deepseek-r1 deepseek-v2 ernie-4.5 exaone-3 hunyuan-a13b "
        "hunyuan-dense internlm-2 llama-2 llama-3 minicpm mixtral monarch olmo-2 openchat phi-3.5-moe phi-3 phi-4 "
        "qwen-1.5 rwkv-world smollm2 stablelm-2 stablelm-zephyr vicuna yi zephyr"
    ),
    "string typed system": "apertus-parts gemma-3 mistral-v7-tekken",
    "string system tools calls parallel objects": (
        "command-r-plus-tools command-r7b falcon-h1 firefunction hermes-3-tools jamba minicpm-3 mistral-nemo "
        "mistral-v3-tools nemotron-nano qwen-2.5 qwen-3-coder qwen-3 seed-oss"
    ),
    "string system calls parallel": "deepseek-v3",
    "string typed system tools calls parallel objects": (
        "devstral exaone-4 gemma-4 glm-4.5 granite-4 kimi-k2 llama-3.2 llama-4"
    ),
    "string system tools": "falcon-3 gigachat glm-4 granite-3 lfm2 phi-4-mini smollm3",
    "string system tools calls parallel": "functionary-3",
    "string": "gemma mistral-v1 orion",
    "string system tools calls objects effort": "gpt-oss",
    "string system tools calls objects": "llama-3.1",
    "string typed system tools calls parallel objects thoughts": "qwen-3.5",
    "string system tools effort": "solar-open",
}
SHORT = {
    "supports_string_content": "string",
    "supports_typed_content": "typed",
    "supports_system_role": "system",
    "supports_tools": "tools",
    "supports_tool_calls": "calls",
    "supports_parallel_tool_calls": "parallel",
    "supports_object_arguments": "objects",
    "supports_preserve_reasoning": "thoughts",
    "supports_reasoning_effort": "effort",
}


@pytest.mark.parametrize(("can", "names"), ABILITIES.items())
def test_abilities(can: str, names: str) -> None:
    for name in names.split():
        found = ChatTemplate(SOURCES[name]).abilities
        assert {SHORT[ability] for ability, has in found.items() if has} == set(can.split()), name


def test_abilities_of_all_are_told() -> None:
    assert set(" ".join(ABILITIES.values()).split()) == {path.stem for path in FOLDER.glob("*.jinja")}
