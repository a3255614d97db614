"""Compiles what requests ask for into constraints, and keeps the newest: many clients send the same schema each time.

Any thread, and several at once; compiling takes up to some hundred milliseconds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property

from llguidance import LLTokenizer

from llamatw.engine.constraint import Begin, Constraint, Wish
from llamatw.engine.gbnf import GrammarLike, compile_gbnf
from llamatw.engine.guidance import compile_guidance, tokenizer
from llamatw.engine.late import LatePlace, ThoughtPlace, end_of, first_trigger, literal
from llamatw.engine.lexicon import Lexicon
from llamatw.engine.loop import VocabLike
from llamatw.engine.trial import Trials
from llamatw.errors import BadRequest, Unavailable

MAX_BYTES = {"gbnf": 1 << 20, "lark": 1 << 16, "json_schema": 1 << 18}  # of a text
_MAX_KEPT, _MAX_KEPT_BYTES = 64, 4 << 20


class Compiler:
    def __init__(self, vocab: VocabLike, open_grammar: Callable[..., GrammarLike]) -> None:
        self._vocab = vocab
        self._lexicon = Lexicon(vocab)
        self._open_grammar = open_grammar
        self._trials = Trials()
        self._kept: OrderedDict[Wish, Constraint] = OrderedDict()  # oldest first
        self._lock = threading.Lock()  # guards _kept
        self._first = threading.Lock()  # held while the vocabulary is read

    def prepare(self) -> None:
        """Reads the vocabulary.  One to some seconds, for a part of which no other thread runs Python."""
        self._trials.prepare()
        with suppress(Unavailable), self._first:  # the model may be closed meanwhile
            _ = self._words

    def stop(self) -> None:
        """What is being tried ends with Unavailable."""
        self._trials.stop()

    def kept(self, wish: Wish) -> Constraint | None:
        """Only what has been compiled before."""
        with self._lock:
            found = self._kept.get(wish)
            if found is None or found.is_worn():
                return None
            self._kept.move_to_end(wish)
            return found

    def compile(self, wish: Wish) -> Constraint:
        """BadRequest names the wish's field and says what is wrong."""
        constraint = self.kept(wish)
        if constraint is None:
            constraint = self._compile(wish)
            self._keep(constraint)
        return constraint

    def _compile(self, wish: Wish) -> Constraint:
        n_bytes, most = len(wish.text.encode()), MAX_BYTES[wish.kind]
        if n_bytes > most:
            raise BadRequest(f"{wish.field} has {n_bytes} bytes, the limit is {most}", wish.field)
        constraint = self._from_the_start(wish)
        constraint.begin = self._late(wish, constraint.begin)
        return constraint

    def _late(self, wish: Wish, begin: Begin) -> Begin:
        words = self._lexicon
        if wish.patterns:
            find = first_trigger([*wish.patterns, *map(literal, wish.words)], wish.tokens)
            return lambda: LatePlace(begin, find, words)
        if wish.thought is None:
            return begin
        tag, closing = wish.thought
        find, opening = end_of(closing.encode()), words.spelled(tag.encode(), parse_special=True)

        def behind() -> LatePlace:
            return LatePlace(begin, find, words, may_end=False)

        return (lambda: ThoughtPlace(begin, opening, behind())) if opening else behind

    def _from_the_start(self, wish: Wish) -> Constraint:
        if wish.kind == "gbnf":
            return compile_gbnf(self._open_grammar, wish, self._lexicon.tokenize)
        with self._first:
            words = self._words
        return compile_guidance(words, wish, self._lexicon.tokenize, self._trials.verdict)

    def _keep(self, constraint: Constraint) -> None:
        with self._lock:
            self._kept[constraint.wish] = constraint
            while len(self._kept) > _MAX_KEPT or sum(len(wish.text) for wish in self._kept) > _MAX_KEPT_BYTES:
                self._kept.popitem(last=False)

    @cached_property
    def _words(self) -> LLTokenizer:
        words = self._lexicon
        return tokenizer(words.pieces, words.name, words.ends, self._vocab.tokenize)
