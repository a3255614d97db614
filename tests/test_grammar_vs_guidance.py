"""Grammars against llguidance, where both can say the same: random ones, as GBNF and as Lark, and random texts.

One character is one lexeme there, so that its lexer has nothing to prefer.  LLAMATW_PAIRS=100000 compares as many.
"""

from __future__ import annotations

import os

import pytest
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from llamatw.capi.gguf import Gguf
from llamatw.capi.grammar import Grammar
from llamatw.capi.records import Code
from llamatw.capi.vocab import Vocab
from llamatw.errors import BadRequest, EngineFailure
from tests import grammar_vocab
from tests.slow_grammar import LETTERS, Writer

pytestmark = pytest.mark.usefixtures("engine_library")

N_PAIRS = int(os.environ.get("LLAMATW_PAIRS", "2000"))
TEXTS_OF_EACH = 10
N_BYTES, END = 256, 256


class Bytes:
    """A vocabulary of bytes, as llguidance asks for it."""

    def __init__(self):
        self.tokens = [*(bytes([byte]) for byte in range(N_BYTES)), b"\xffend"]
        self.special_token_ids = [END]
        self.bos_token_id, self.eos_token_id = None, END

    def __call__(self, text):
        return list(text)


@pytest.fixture(scope="module")
def bytewise():
    return LLTokenizer(TokenizerWrapper(Bytes()), n_vocab=END + 1)


@pytest.fixture(scope="module")
def vocab(tmp_path_factory):
    path = grammar_vocab.write(tmp_path_factory.mktemp("grammar") / "vocab.gguf", grammar_vocab.pieces(1, LETTERS, 20))
    with Gguf.open(path) as file:
        return Vocab.open(file)


def lark(rules):
    """The same rules in Lark's language."""
    names = {"root": "start"}
    return "%llguidance {}\n" + "".join(f"{names.get(name, name)}: {written(body)}\n" for name, body in rules.items())


def written(node):
    kind = node[0]
    if kind == "text":
        return " ".join(one_of([(ord(char), ord(char))]) for char in node[1]) or '""'
    if kind == "class":
        return one_of([*node[2], (0, 0)], "^") if node[1] else one_of(node[2])
    if kind == "ref":
        return "start" if node[1] == "root" else node[1]
    if kind == "rep" and node[3] == 0:
        return '""'
    if kind == "rep":
        least, most = node[2:]
        return f"({written(node[1])}){{{least},{'' if most is None else most}}}"
    return "(" + (" " if kind == "seq" else " | ").join(map(written, node[1])) + ")"


def one_of(ranges, mark=""):
    inside = "".join(rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in ranges)
    return f"/[{mark}{inside}]/"


def theirs(matcher, raw):
    """How many bytes it takes, and whether the text may end there."""
    matcher = matcher.deep_copy()
    for n, byte in enumerate(raw):
        if not matcher.try_consume_tokens([byte]):
            return n, not matcher.is_error() and matcher.is_accepting()
    return len(raw), matcher.is_accepting()


def ours(grammar, raw):
    with grammar.begin() as state:
        for n, byte in enumerate(raw):
            if not state.advance(grammar_vocab.FIRST_BYTE + byte):
                return n, state.is_complete
        return len(raw), state.is_complete


def opened(vocab, bytewise, writer):
    """(rules, ours, theirs); None where one of the two refuses the grammar: ours left recursion, theirs its size."""
    rules = writer.rules()
    try:
        grammar = Grammar.open(vocab, writer.gbnf(rules))
    except BadRequest:
        return None
    matcher = LLMatcher(bytewise, LLMatcher.grammar_from_lark(lark(rules)), log_level=0)
    return None if matcher.is_error() else (rules, grammar, matcher)


def compare(vocab, bytewise, n_pairs):
    """(pairs, grammars left out, disagreements).  A limit of either on the ways to read a text is no disagreement."""
    n, n_left_out, found, seed = 0, 0, [], 0
    while n < n_pairs:
        seed += 1
        writer = Writer(1_000_000 + seed)
        made = opened(vocab, bytewise, writer)
        if made is None:
            n_left_out += 1
            continue
        rules, grammar, matcher = made
        with grammar:
            for raw in {writer.text(rules) for _ in range(TEXTS_OF_EACH)}:
                try:
                    mine, other = ours(grammar, raw), theirs(matcher, raw)
                except EngineFailure as error:
                    assert error.code == Code.LIMIT
                    continue
                n += 1
                if mine != other:
                    found.append((seed, raw, mine, other))
    return n, n_left_out, found


def test_random_grammars_and_texts(vocab, bytewise):
    n, n_left_out, found = compare(vocab, bytewise, N_PAIRS)
    print(f"{n} pairs agree but for {len(found)}; {n_left_out} grammars were left out")
    assert not found, found[:10]
