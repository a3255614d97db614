"""Thoughts told from answers, in one piece or many."""

from __future__ import annotations

import random

import pytest

from llamatw.text.thoughts import Splitter, Tags, tags_ahead

OPEN, MAYBE = Tags("", "</think>"), Tags("<think>", "</think>")


def split(tags, pieces):
    splitter, thought, answer = Splitter(tags), "", ""
    for said in [*map(splitter.feed, pieces), splitter.finish()]:
        thought, answer = thought + said[0], answer + said[1]
    return thought, answer


@pytest.mark.parametrize(
    ("tags", "text", "parts"),
    [
        (OPEN, "\n hm, a < b \n</think>\n\n{1}", ("hm, a < b", "{1}")),
        (OPEN, "</think>x</think> y", ("", "x</think> y")),
        (OPEN, "hm </thin", ("hm </thin", "")),
        (OPEN, "hm", ("hm", "")),
        (MAYBE, "<think>a b</think>c", ("a b", "c")),
        (MAYBE, "\n<think>\na\n</think>\n", ("a", "")),
        (MAYBE, "x <think>a</think>", ("", "x <think>a</think>")),
        (MAYBE, "<thi", ("", "<thi")),
        (MAYBE, "<3", ("", "<3")),
        (MAYBE, " a b ", ("", "a b ")),
        (MAYBE, "", ("", "")),
    ],
)
def test_however_the_text_is_cut(tags, text, parts):
    assert split(tags, [text]) == parts
    assert split(tags, list(text)) == parts
    for seed in range(20):
        cuts = sorted(random.Random(seed).choices(range(len(text) + 1), k=3))
        assert split(tags, [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]) == parts


@pytest.mark.parametrize(
    ("template", "end", "tags"),
    [
        ("no tags", "assistant\n", None),
        ("{{ '</think>' }}", "assistant\n", MAYBE),
        ("{{ '</think>' }}", "assistant\n<think>\n", OPEN),
        ("{{ '</think>' }}", "assistant\n<think>\n\n</think>\n\n", None),
        ("{{ '</think>' }}", "<think>a</think> b <think>c", OPEN),
        ("{{ '</seed:think>' }}", "", Tags("<seed:think>", "</seed:think>")),
    ],
)
def test_what_lies_ahead(template, end, tags):
    assert tags_ahead(template, end) == tags
