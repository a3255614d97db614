"""Stop strings: what is shown does not depend on how the text was cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamatw.text.stops import StopScanner

letters = st.sampled_from("abcé😀")
texts = st.text(letters, max_size=30)
words = st.lists(st.text(letters, min_size=1, max_size=5), max_size=4)


def shown(pieces: list[str], stop: list[str]) -> tuple[str, str]:
    scanner = StopScanner(stop)
    out = "".join(scanner.feed(piece) for piece in pieces)
    return out + scanner.finish(), scanner.word


def plain(text: str, stop: list[str]) -> tuple[str, str]:
    """The rule said the slow way: grow the text by one character until some word is its end."""
    for end in range(1, len(text) + 1):
        done = [word for word in stop if text[:end].endswith(word)]
        if done:
            word = max(done, key=len)
            return text[: end - len(word)], word
    return text, ""


@given(texts, words, st.lists(st.integers(0, 30), max_size=8))
def test_any_cut_shows_the_same(text: str, stop: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert shown(pieces, stop) == plain(text, stop)


@given(texts, words)
def test_nothing_shown_is_taken_back(text: str, stop: list[str]) -> None:
    scanner, want, so_far = StopScanner(stop), plain(text, stop)[0], ""
    for character in text:
        so_far += scanner.feed(character)
        assert want.startswith(so_far)


@pytest.mark.parametrize(
    ("text", "stop", "want", "word"),
    [
        ("xy foo bar zz", ["foo bar"], "xy ", "foo bar"),
        ("xy foo bat zz", ["foo bar"], "xy foo bat zz", ""),
        ("xy foo b", ["foo bar"], "xy foo b", ""),
        ("one two three four", ["four", "three", "two"], "one ", "two"),
        ("ab" * 6 + "c", ["abc"], "ab" * 5, "abc"),
        ("a😀b🎉c", ["🎉"], "a😀b", "🎉"),
        ("anything", [], "anything", ""),
    ],
)
def test_examples(text: str, stop: list[str], want: str, word: str) -> None:
    assert shown(list(text), stop) == (want, word) == shown([text], stop)


def test_text_that_no_word_begins_is_shown_at_once() -> None:
    scanner = StopScanner(["</s>"])
    assert scanner.feed("a < b") == "a < b"
    assert scanner.feed(" <") == " "
    assert scanner.feed("/x") == "</x"


def test_silent_after_the_word() -> None:
    scanner = StopScanner(["."])
    assert scanner.feed("end. more") == "end"
    assert scanner.feed("more") == "" == scanner.finish()
