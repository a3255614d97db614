"""Grammars against a slow and obvious matcher: random grammars, random texts, masks by trying every token."""

from __future__ import annotations

import pytest

from llamatw.capi.gguf import Gguf
from llamatw.capi.grammar import Grammar
from llamatw.capi.records import Code
from llamatw.capi.vocab import Vocab
from llamatw.errors import BadRequest, EngineFailure
from tests import grammar_vocab
from tests.slow_grammar import LETTERS, Matcher, Writer, is_left_recursive

pytestmark = pytest.mark.usefixtures("engine_library")

N_GRAMMARS, TEXTS_OF_EACH = 2000, 5
N_MASKED = 100


@pytest.fixture(scope="module")
def vocab(tmp_path_factory):
    words = grammar_vocab.pieces(1, LETTERS, 200)
    path = grammar_vocab.write(tmp_path_factory.mktemp("grammar") / "vocab.gguf", words)
    with Gguf.open(path) as file:
        return Vocab.open(file)


def opened(vocab, writer):
    """(rules, grammar), or None when it is refused, which must be for left recursion."""
    rules = writer.rules()
    text = writer.gbnf(rules)
    try:
        grammar = Grammar.open(vocab, text)
    except BadRequest as error:
        assert "begins with itself" in error.message and is_left_recursive(rules), (error.message, text)
        return None
    assert not is_left_recursive(rules), text
    return rules, grammar


def read(grammar, raw):
    """A state after as many of the bytes as it takes, and how many those are."""
    state = grammar.begin()
    for n, byte in enumerate(raw):
        if not state.advance(grammar_vocab.FIRST_BYTE + byte):
            return state, n
    return state, len(raw)


def compare(rules, grammar, raw):
    """True; False where there are too many ways to read the text."""
    try:
        state, n = read(grammar, raw)
    except EngineFailure as error:
        assert error.code == Code.LIMIT
        return False
    with state:
        slow = Matcher(rules, raw[:n])
        assert slow.accepted and slow.complete == state.is_complete
        assert n == len(raw) or not Matcher(rules, raw[: n + 1]).accepted
    return True


def run(vocab, first_seed, n_grammars, n_texts):
    """How many pairs agreed."""
    n = 0
    for seed in range(first_seed, first_seed + n_grammars):
        writer = Writer(seed)
        if made := opened(vocab, writer):
            for _ in range(n_texts):
                raw = writer.text(made[0])
                try:
                    n += compare(*made, raw)
                except AssertionError as error:
                    raise AssertionError(f"seed {seed}: {raw!r} in\n{writer.gbnf(made[0])}") from error
            made[1].close()
    return n


def test_random_grammars_and_texts(vocab):
    assert run(vocab, 0, N_GRAMMARS, TEXTS_OF_EACH) > N_GRAMMARS


def allowed(vocab, rules, raw):
    """Token ids by the slow matcher."""
    ids = {grammar_vocab.EOS} if Matcher(rules, raw).complete else set()
    for token in range(grammar_vocab.FIRST_BYTE, vocab.info.n_tokens):
        byte = token - grammar_vocab.FIRST_BYTE
        piece = bytes([byte]) if byte < 256 else vocab.token_text(token).encode()
        if Matcher(rules, raw + piece).accepted:
            ids.add(token)
    return ids


def bits(mask):
    return {i for i in range(8 * len(mask)) if mask[i // 8] >> i % 8 & 1}


def test_masks_by_trying_every_token(vocab):
    n = 0
    for seed in range(10_000, 10_000 + N_MASKED):
        writer = Writer(seed)
        made = opened(vocab, writer)
        if made is None:
            continue
        raw = writer.text(made[0])
        state, n_read = read(made[1], raw)
        mask, n_allowed = state.mask()
        wanted = allowed(vocab, made[0], raw[:n_read])
        assert bits(mask) == wanted and n_allowed == len(wanted), f"seed {seed}: {raw[:n_read]!r}"
        n += 1
    assert n > N_MASKED // 2


def test_masks_over_a_real_vocabulary(smollm2):
    """A sample of its tokens, those that the grammars' letters make up among them."""
    with Gguf.open(smollm2) as file:
        vocab = Vocab.open(file)
    pieces = [vocab.detokenize([token]) for token in range(vocab.info.n_tokens)]
    letters = set(LETTERS.encode())
    tokens = [t for t, piece in enumerate(pieces) if piece and set(piece) <= letters][:300]
    tokens += range(99, 49_000, 500)
    for seed in range(20_000, 20_000 + N_MASKED):
        writer = Writer(seed)
        made = opened(vocab, writer)
        if made is None:
            continue
        state, raw = made[1].begin(), b""
        for token in vocab.tokenize(writer.text(made[0])):
            if pieces[token] and state.advance(token):
                raw += pieces[token]
        mask, _ = state.mask()
        wanted = {t for t in tokens if pieces[t] and Matcher(made[0], raw + pieces[t]).accepted}
        assert {t for t in tokens if mask[t // 8] >> t % 8 & 1} == wanted, f"seed {seed}: {raw!r}"
