"""Which chat template a server uses: a built-in one by name, a source, or the model's own."""

from __future__ import annotations

from llamatw.errors import TemplateRejected
from llamatw.text.formats import BAR, BUILT_IN

# Marks by which a model's own template is known, the more special first.
_MARKS: list[tuple[str, tuple[str, ...]]] = [
    ("phi4", ("<|im_start|>", "<|im_sep|>")),
    ("smolvlm", ("<|im_start|>", "<end_of_utterance>")),
    ("chatml", ("<|im_start|>",)),
    ("kimi-k2", ("<|im_middle|>",)),
    ("gpt-oss", ("<|start|>", "<|channel|>")),
    ("solar-open", ("<|begin|>", "<|content|>")),
    ("llama4", ("<|header_start|>",)),
    ("llama3", ("<|start_header_id|>", "<|end_header_id|>")),
    ("mistral-v7-tekken", ("[SYSTEM_PROMPT]",)),
    ("llama2", ("[INST]", "<<SYS>>")),
    ("mistral-v3", ("[INST]",)),
    ("gemma", ("<start_of_turn>",)),
    ("chatglm4", ("[gMASK]<sop>",)),
    ("phi3", ("<|assistant|>", "<|end|>")),
    ("zephyr", ("<|assistant|>", "eos_token")),
    ("deepseek3", (f"<{BAR}Assistant{BAR}>",)),
    ("deepseek", ("### Instruction:", "<|EOT|>")),
    ("rwkv-world", ("rwkv_tokenizer",)),
    ("deepseek2", ("'Assistant: '",)),
    ("command-r", ("<|START_OF_TURN_TOKEN|>",)),
    ("granite", ("<|start_of_role|>",)),
    ("seed_oss", ("<seed:bos>",)),
    ("exaone3", ("[|assistant|]", "[|endofturn|]")),
    ("hunyuan-dense", (f"<{BAR}hy_User{BAR}>",)),
    ("hunyuan-moe", ("<|extra_0|>", "<|extra_4|>")),
    ("gigachat", ("<|role_sep|>", "<|message_sep|>")),
    ("megrez", ("<|role_start|>", "<|turn_end|>")),
    ("bailing2", ("<role>ASSISTANT</role>", "<|role_end|>")),
    ("bailing", ("<role>ASSISTANT</role>",)),
    ("minicpm", ("<用户>", "<AI>")),
    ("pangu-embedded", ("[unused9]", "[unused10]")),
    ("grok-2", ("Human: ", "<|separator|>")),
    ("openchat", ("GPT4 Correct",)),
    ("vicuna", ("USER: ", "ASSISTANT: ")),
]


def is_source(given: str) -> bool:
    """Whether it is a template, rather than the name of one."""
    return "{%" in given or "{{" in given


def check(given: str | None) -> None:
    """TemplateRejected for a name that nobody knows; a template itself is compiled when the model is there."""
    if given is not None and not is_source(given) and given not in BUILT_IN:
        names = ", ".join(BUILT_IN)
        raise TemplateRejected(f"--chat-template must be a file, Jinja, or one of {names}, not {given[:80]!r}")


def choose(given: str | None, own: str | None, jinja: bool) -> str:
    """The template of a server: what the flag says, else the model's own; without jinja the built-in one that has its
    marks.  TemplateRejected where there is none."""
    if given is not None:
        check(given)
        return given if is_source(given) else BUILT_IN[given]
    if not own:
        raise TemplateRejected("this model has no chat template: the server was started without --chat-template")
    if jinja:
        return own
    for name, marks in _MARKS:
        if all(mark in own for mark in marks):
            return BUILT_IN[name]
    raise TemplateRejected("--no-jinja: the model's chat template has the marks of no built-in one")
