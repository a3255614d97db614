"""Writes golden.json: what the transformers package makes of each template and conversation.

    pip install --target /tmp/t transformers && PYTHONPATH=.:/tmp/t python -m tests.text.make_golden

The tests compare with the file, since the package is too large to be installed for them (a quarter GB).
"""

from __future__ import annotations

import datetime
import json
from typing import Any

import jinja2
from transformers.utils import chat_template_utils  # type: ignore[import-not-found, unused-ignore]

from llamatw.text.templates import BUILT_IN
from tests.text.conversations import CONVERSATIONS, FOLDER, GOLDEN, TODAY, variables


class Today(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Today:
        return cls(*TODAY)


def rendered(source: str, conversation: dict[str, Any]) -> str | list[str]:
    """The text, or a list with the words of the error where the template raised it."""
    values = variables(conversation)
    messages = values.pop("messages")
    try:
        texts, _ = chat_template_utils.render_jinja_template([messages], chat_template=source, **values)
    except jinja2.TemplateError as error:
        return [str(error)] if type(error) is jinja2.TemplateError else [""]
    except (TypeError, ValueError, AttributeError, LookupError):
        return [""]
    return str(texts[0])


def main() -> None:
    chat_template_utils.datetime = Today
    sources = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.jinja"))}
    sources |= {f"built-in {name}": source for name, source in BUILT_IN.items()}
    golden = {
        name: {title: rendered(source, conversation) for title, conversation in CONVERSATIONS.items()}
        for name, source in sources.items()
    }
    lines = [f"{json.dumps(name)}: {json.dumps(texts, ensure_ascii=False)}" for name, texts in golden.items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
