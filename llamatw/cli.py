"""The `llamatw` command: look into a model file, tokenize with it, fetch a model.

A mistake or a failure is one line on standard error and exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any, NoReturn

from llamatw import __version__, models
from llamatw.capi.gguf import Gguf
from llamatw.capi.vocab import Vocab
from llamatw.errors import LlamatwError, UsageMistake
from llamatw.hub.names import remote
from llamatw.report import model_lines, model_report


def main(argv: Sequence[str] | None = None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
        sys.stdout.flush()
    except LlamatwError as error:
        print(f"llamatw: {error.message}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """One line for a mistake instead of the usage text and status 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageMistake(f"{message} ({self.prog} --help explains)")


def _parser() -> _Parser:
    parser = _Parser(prog="llamatw", description="Tools around GGUF models; the server itself is `twistd llama`.")
    parser.add_argument("--version", action="version", version=f"llamatw {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="show metadata, tensors and sizes of a GGUF file")
    info.add_argument("file", metavar="FILE")
    info.add_argument("--json", action="store_true", help="as one JSON object, arrays in full")
    info.set_defaults(run=_info)

    tokenize = commands.add_parser("tokenize", help="text on standard input to token ids")
    tokenize.add_argument("-m", "--model", metavar="FILE", help="path or name; without it the default model")
    tokenize.add_argument("--jsonl", action="store_true", help="one JSON string a line in, one JSON array a line out")
    tokenize.add_argument("--special", action="store_true", help="add BOS and EOS as the model asks")
    tokenize.add_argument("--parse-special", action="store_true", help="read text like <|im_end|> as the control token")
    tokenize.set_defaults(run=_tokenize)

    pull = commands.add_parser("pull", help="fetch a model into the cache and print its path")
    known = ", ".join(models.MODELS)
    meanings = f"{known} (default: the first); USER/NAME[:QUANT] of Hugging Face; a URL"
    pull.add_argument("name", nargs="?", metavar="NAME", help=meanings)
    pull.set_defaults(run=_pull)
    return parser


def _info(arguments: argparse.Namespace) -> None:
    with Gguf.open(arguments.file) as gguf:
        if arguments.json:
            json.dump(model_report(gguf), sys.stdout, ensure_ascii=False)
            print()
        else:
            for line in model_lines(gguf):
                print(line)


def _pull(arguments: argparse.Namespace) -> None:
    name = arguments.name
    is_known = name is None or name in models.MODELS or os.path.exists(name)
    wanted = None if is_known else remote(name)
    print(models.resolve(name) if wanted is None else models.resolve(remote=wanted))


def _tokenize(arguments: argparse.Namespace) -> None:
    with Gguf.open(str(models.resolve(arguments.model))) as gguf:
        vocab = Vocab.open(gguf)
    wishes = {"add_special": arguments.special, "parse_special": arguments.parse_special}
    if not arguments.jsonl:
        print(*vocab.tokenize(sys.stdin.buffer.read(), **wishes))
        return
    for text in _json_strings(sys.stdin.buffer):
        print(json.dumps(vocab.tokenize(text, **wishes), separators=(",", ":")), flush=True)


def _json_strings(lines: IO[bytes]) -> Iterator[str]:
    """The strings of the lines as they come; an empty line is an error like any other line without a string."""
    for number, line in enumerate(lines, 1):
        text = _parsed(line)
        if not isinstance(text, str) or not _is_unicode(text):
            raise UsageMistake(f"line {number} of standard input is not a JSON string")
        yield text


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_unicode(text: str) -> bool:
    """False for halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
