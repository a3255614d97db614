#!/usr/bin/env python3
"""A conversation on the terminal with OpenAI's own package (pip install openai).  End it with Ctrl-D.

python examples/chat_openai.py        API_URL: the server, API_KEY: its key
"""

from __future__ import annotations

import os

from openai import APIError, OpenAI
from openai.types.chat import ChatCompletionMessageParam


def answer(client: OpenAI, messages: list[ChatCompletionMessageParam]) -> str:
    """Prints the answer as it comes."""
    text = ""
    with client.chat.completions.create(model="any", messages=messages, max_tokens=256, stream=True) as stream:
        for chunk in stream:
            piece = chunk.choices[0].delta.content if chunk.choices else None
            print(piece or "", end="", flush=True)
            text += piece or ""
    print()
    return text


def main() -> None:
    url = os.environ.get("API_URL", "http://127.0.0.1:8080")
    client = OpenAI(base_url=f"{url}/v1", api_key=os.environ.get("API_KEY", "none"))
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": "You answer helpfully and briefly."}]
    while True:
        try:
            messages.append({"role": "user", "content": input("> ")})
            messages.append({"role": "assistant", "content": answer(client, messages)})
        except EOFError:
            break
        except APIError as error:
            messages.pop()
            print(f"error: {error.message}")


if __name__ == "__main__":
    main()
