"""Grammar: the example grammars, masks over real vocabularies, tokens by name, triggers, forced text, threads."""

from __future__ import annotations

import random
import threading

import pytest

from llamatw.capi.gguf import Gguf
from llamatw.capi.grammar import Grammar
from llamatw.capi.records import Code
from llamatw.capi.vocab import Vocab
from llamatw.errors import BadRequest, EngineFailure
from tests import grammar_vocab

pytestmark = pytest.mark.usefixtures("engine_library")

# name: (texts that fit, texts that do not)
CASES = {
    "json": (
        [
            '{"a": 1}',
            "{}",
            '{"k":[true,null,-0.5e+10],"s":"x\\"\\u00e9日本"}',
            '{"a": {"b": [1, [2, []]]}}',
            '{\n  "a": ""}',
        ],
        ["[1]", '{"a": 01}', '{"a" 1}', '{"a": 1,}', '{"a": "\n"}', '{"a": "\\x"}', '{"a": .5}', "{a: 1}", "{} x"],
    ),
    "json_arr": (['[\n{"a": 1},\n2]', "[\n]", '[\n"x"\n]'], ["[1]", "[\n1, 2]", "{}", "[\n1,\n]"]),
    "arithmetic": (
        ["1 + 2 = 3\n", "(a+2)*3=-b\nx = 2\n", "2 * (3 - (4 / 5.25)) = y_1\n"],
        ["1 + = 3\n", "1 + 2\n", "(1 = 1\n", "1=1"],
    ),
    "c": (
        [
            "int main() { return 0; }",
            "float f(int a, char b) {\n  int c = a * (b + 1);\n  while (c < 3) { c = c + 1; }\n  f(c, 2);\n}\n",
            "int g(int n) { if (n <= 1) { return 1; } else { return n * g(n - 1); } }",
            "char h() { // say so\n }",
        ],
        ["int main() { return 0 }", "int main( { }", "long f() {}", "int f() { while (1) {} }", "return 0;"],
    ),
    "chess": (
        ["1. e4 e5\n2. Nf3 Nc6\n3. Bb5 a6\n4. O-O Nxe4\n5. exd5 O-O-O+\n", "42. e8=Q+ Kxe8#\n"],
        ["1. e4\n", "e4 e5\n", "1. e9 e5\n", "1. Pe4 e5\n", "1. O-O-O-O e5\n"],
    ),
    "japanese": (
        ["日本語", "こんにちは、世界。", "カタカナ ひらがな\n漢字。", "々"],
        ["abc", "日本 ", " 日", "日本語a"],
    ),
    "list": (["- one\n- two\n", "- é 日本\n"], ["- one", "-one\n", "one\n", "- \n", "- a\x0bb\n"]),
    "english": (
        ["It works.", "Two (2) words, e.g. these.\n\nA paragraph: 'no'?\n"],
        ["", " x", "a  b", "é", "a\n\n\nb"],
    ),
}


def vocab_of(path):
    with Gguf.open(path) as file:
        return Vocab.open(file)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The vocabulary of tests.grammar_vocab: every byte has a token."""
    path = tmp_path_factory.mktemp("grammar") / "vocab.gguf"
    return vocab_of(grammar_vocab.write(path, grammar_vocab.pieces(2, 'ab{}[]":, \n01日', 300)))


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def real(request):
    return vocab_of(request.getfixturevalue(request.param))


def take(state, ids):
    """How many of the tokens it takes."""
    return next((n for n, token in enumerate(ids) if not state.advance(token)), len(ids))


def fits(grammar, text):
    state, raw = grammar.begin(), text.encode()
    n = take(state, [grammar_vocab.FIRST_BYTE + byte for byte in raw])
    return n == len(raw) and state.is_complete


@pytest.mark.parametrize("name", CASES)
def test_examples(small, root, name):
    grammar = Grammar.open(small, (root / "docs" / "grammars" / f"{name}.gbnf").read_text(encoding="utf-8"))
    good, bad = CASES[name]
    assert [text for text in good if not fits(grammar, text)] == []
    assert [text for text in bad if fits(grammar, text)] == []


def test_every_example_has_cases(root):
    assert {path.stem for path in (root / "docs" / "grammars").glob("*.gbnf")} == set(CASES)


def allowed(state):
    mask, n = state.mask()
    ids = [i for i in range(8 * len(mask)) if mask[i // 8] >> i % 8 & 1]
    assert len(ids) == n
    return ids


@pytest.mark.parametrize("name", ["json", "japanese"])
def test_masks_are_what_advance_takes(real, root, name):
    """Every token of the vocabulary, at places of a text written at random."""
    grammar = Grammar.open(real, (root / "docs" / "grammars" / f"{name}.gbnf").read_text(encoding="utf-8"))
    state, draw, ends = grammar.begin(), random.Random(7), real.ends()
    spare = state.fork()
    for step in range(12):
        ids = allowed(state)
        if step in (1, 9):
            taken = []
            for token in range(real.info.n_tokens):
                spare.copy_from(state)
                if spare.advance(token):
                    taken.append(token)
            assert taken == ids
        assert state.advance(draw.choice([i for i in ids if i not in ends] or ids))


def test_counts_far_from_their_bounds_share_a_mask(real):
    state = Grammar.open(real, 'root ::= "\\"" [^"]{0,65536} "\\""').begin()
    assert state.advance(real.tokenize('"')[-1])
    first, word = state.mask(), real.tokenize("word")[-1]
    for _ in range(50):
        assert state.advance(word) and state.mask() == first


def test_counts_are_exact(small):
    grammar = Grammar.open(small, 'root ::= [ab]{40,43} "."')
    assert [n for n in range(50) if fits(grammar, "a" * n + ".")] == [40, 41, 42, 43]
    grammar = Grammar.open(small, 'root ::= ("ab"{3}){2,} "."')
    assert [n for n in range(30) if fits(grammar, "ab" * n + ".")] == [6, 9, 12, 15, 18, 21, 24, 27]


def test_only_the_end_is_left(small):
    state, eos = Grammar.open(small, 'root ::= "a"').begin(), small.info.eos
    assert eos not in allowed(state) and not state.advance(eos)
    assert feed(state, "a") == 1 and allowed(state) == [eos] and state.advance(eos)


def test_half_a_character(small):
    """日 is E6 97 A5; 月 is E6 9C 88."""
    state = Grammar.open(small, "root ::= [日月]").begin()
    byte = grammar_vocab.FIRST_BYTE
    assert byte + 0xE6 in allowed(state) and state.advance(byte + 0xE6)
    assert allowed(state) == [byte + 0x97, byte + 0x9C] and not state.is_complete
    assert state.advance(byte + 0x9C) and allowed(state) == [byte + 0x88]


def test_tokens_by_name_and_number(small):
    think, end = grammar_vocab.THINK, grammar_vocab.END_THINK
    state = Grammar.open(small, "root ::= <think> !</think>* <[4]> [0-9]").begin()
    assert allowed(state) == [think] and take(state, [think, *small.tokenize("ab {1}")]) > 3
    ids = allowed(state)
    assert end in ids and think not in ids and small.info.eos not in ids and len(ids) == small.info.n_tokens - 4
    assert state.advance(end) and not state.is_complete
    assert feed(state, "1") == 1 and state.is_complete


def test_control_tokens_come_only_where_they_are_named(small):
    state = Grammar.open(small, 'root ::= "<think>" .*').begin()
    assert not state.advance(grammar_vocab.THINK)
    assert take(state, [grammar_vocab.FIRST_BYTE + byte for byte in b"<think>x"]) == 8
    assert not {0, 1, grammar_vocab.THINK, grammar_vocab.END_THINK} & set(allowed(state))


def feed(state, text):
    return take(state, [grammar_vocab.FIRST_BYTE + byte for byte in text.encode()])


def test_a_word_starts_a_lazy_grammar(small):
    text = 'root ::= "<call>" [0-9]+ "</call>"'
    grammar = Grammar.open(small, text, words=["<call>"])
    state = grammar.begin()
    assert state.is_waiting and state.is_complete and len(allowed(state)) == small.info.n_tokens
    assert feed(state, "<<ca ll><call") == 13 and state.is_waiting
    assert state.advance(grammar_vocab.THINK) and state.is_waiting, "a token without text leaves the wait as it is"
    assert feed(state, ">") == 1 and not state.is_waiting and not state.is_complete
    assert feed(state, "12</call>") == 9 and allowed(state) == [small.info.eos]


def test_a_token_that_goes_on_behind_the_word_is_checked(small):
    """In the vocabulary there are tokens such as `":`."""
    state = Grammar.open(small, 'root ::= "\\"" [01]', words=['"']).begin()
    wrong = [t for t in range(small.info.n_tokens) if '"' in (text := small.token_text(t)) and not text.endswith('"')]
    legal = [t for t in wrong if small.token_text(t).split('"', 1)[1] in ("0", "1")]
    assert wrong and set(wrong) & set(allowed(state)) == set(legal)
    assert [t for t in wrong if state.fork().advance(t)] == legal


def test_a_token_starts_a_lazy_grammar_and_may_stand_before_it(small):
    think = grammar_vocab.THINK
    state = Grammar.open(small, 'root ::= <think> "a"', tokens=[think]).begin()
    assert feed(state, "xyz") == 3 and state.advance(think) and state.forced() == b"a"
    state = Grammar.open(small, 'root ::= "a"', tokens=[think], words=["</x>"], after_trigger=True).begin()
    assert feed(state, "x") == 1 and state.advance(think) and state.forced() == b"a"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"words": ["b"]}, "trigger word 0"),
        ({"tokens": [grammar_vocab.THINK]}, "trigger token 0"),
        ({"words": [""]}, "must have 1"),
        ({"words": ["a" * 1025]}, "must have 1"),
        ({"words": ["a\0"]}, "U\\+0000"),
        ({"words": ["a"] * 65}, "at most 64"),
        ({"tokens": [-1]}, "out of range"),
        ({"tokens": [10**6]}, "out of range"),
        ({"tokens": [2**40]}, "out of range"),
        ({"tokens": [grammar_vocab.EOS]}, "ends generation"),
        ({"root": "other"}, 'no rule "other"'),
    ],
)
def test_options_that_are_refused(small, options, says):
    with pytest.raises(BadRequest, match=says) as caught:
        Grammar.open(small, 'root ::= "a"', **options)
    assert caught.value.param == "grammar"


def test_forced_text(small):
    state = Grammar.open(small, 'root ::= "{\\"name\\": \\"" [a-z]+ "\\", \\"x\\"}"').begin()
    assert state.forced() == b'{"name": "' and state.forced(4) == b'{"na'
    assert feed(state, '{"name": "b') == 11 and state.forced() == b""
    assert feed(state, '"') == 1 and state.forced() == b', "x"}'


def test_states_outlive_the_grammar_and_the_vocabulary(smollm2):
    vocab = vocab_of(smollm2)
    grammar = Grammar.open(vocab, "root ::= [0-9]+")
    state, one = grammar.begin(), vocab.tokenize("1")
    grammar.close()
    vocab.close()
    with state.fork() as fork:
        assert take(fork, one * 3) == 3 and fork.is_complete and not state.is_complete
    state.close()


def test_a_closed_state_refuses(small):
    grammar = Grammar.open(small, 'root ::= "a"')
    state = grammar.begin()
    state.close()
    state.close()
    grammar.close()
    questions = [lambda: state.advance(5), lambda: state.is_complete, state.mask, state.fork, state.forced]
    for call in (*questions, grammar.begin):
        with pytest.raises(EngineFailure, match="needs a"):
            call()


def test_too_many_readings_are_an_error_of_that_state_alone(small):
    grammar = Grammar.open(small, 'root ::= "a" root p | "a" root q | "a"\np ::= "b"\nq ::= "b"')
    state, other = grammar.begin(), grammar.begin()
    with pytest.raises(EngineFailure, match="too many ways") as caught:
        feed(state, "a" * 100)
    assert caught.value.code == Code.LIMIT
    assert feed(other, "aaabb") == 5 and other.is_complete


def test_threads_share_a_grammar(real, root):
    grammar = Grammar.open(real, (root / "docs" / "grammars" / "json.gbnf").read_text(encoding="utf-8"))
    ids = real.tokenize('{"a": [1, 2, {"b": "日本 \\" x"}], "c": null}')

    def masks():
        state, found = grammar.begin(), []
        for token in ids:
            found.append(state.mask())
            state.advance(token)
        return found

    wanted, wrong = masks(), []

    def work():
        wrong.extend(1 for _ in range(20) if masks() != wanted)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
