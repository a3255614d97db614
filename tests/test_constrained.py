"""Grammars and schemas with a real model: every answer fits, and is the same bits whatever else happens.

With -s it shows what was counted.  LLAMATW_SCHEMAS=all takes every schema instead of a part.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest

from llamatw.capi.engine import Engine
from llamatw.capi.records import KVFull, OutFlag, SamplingParams
from llamatw.engine.compiler import Compiler
from llamatw.engine.constraint import Constraint, Pattern, Wish
from llamatw.engine.scheduler import Scheduler
from llamatw.engine.sequence import Delta, FinishReason, GenerationParams, Sequence
from llamatw.errors import BadRequest
from llamatw.settings import EngineSettings
from tests.live_server import serving
from tests.real_schemas import REAL
from tests.schemas import HAND_MADE, Schema, drawn
from tests.tool_schemas import tool

N_DRAWN = 100
N_CTX, N_SEQS = 512, 8
N_TOOLS = 80
SOME = slice(None, None, 1 if os.environ.get("LLAMATW_SCHEMAS") == "all" else 10)
REAL_ONES = [*REAL.values(), *(tool(seed) for seed in range(N_TOOLS))][SOME]
SCHEMAS = [*HAND_MADE.values(), *(drawn(seed) for seed in range(N_DRAWN)), *REAL_ONES]
FORMATS = jsonschema.Draft202012Validator.FORMAT_CHECKER


def check(text: str, schema: Schema) -> None:
    """Decimals: of floats 1.12 is no multiple of 0.01."""
    value, decimal = json.loads(text, parse_float=Decimal), json.loads(json.dumps(schema), parse_float=Decimal)
    jsonschema.validate(value, decimal, format_checker=FORMATS)


class Hall:
    """A scheduler over the engine, and what every sequence got."""

    def __init__(self, engine: Engine, n_draft: int = 7, n_batch: int = 512) -> None:
        self.engine = engine
        self.scheduler = Scheduler(engine, engine.info.n_seqs, n_batch, 50.0, n_draft=n_draft, n_ctx=engine.info.n_ctx)
        self.traces: dict[int, list[tuple[int, float]]] = {}
        self.texts: dict[int, str] = {}
        self.last: dict[int, Delta] = {}
        self.n_steps = 0

    def submit(
        self, id: int, constraint: Constraint | None, prompt: str = "A record, in JSON:\n", **wishes: float
    ) -> None:
        sampling = SamplingParams(seed=id, temperature=wishes.pop("temperature", 0.9), **wishes)
        params = GenerationParams(sampling=sampling, max_tokens=300, constraint=constraint)
        ids = array("i", self.engine.vocab.tokenize(prompt))
        self.scheduler.submit(Sequence(id=id, prompt=ids, params=params), 0.0)
        self.traces[id], self.texts[id] = [], ""

    def step(self) -> None:
        rows = self.scheduler.plan(self.n_steps / 100)
        try:
            outs = self.engine.step(rows) if rows else []
        except KVFull:
            self.scheduler.starve()
            return
        running = {seq.handle: seq for seq in self.scheduler.running}
        skip = {handle: seq.n_replay for handle, seq in running.items()}
        for out in outs:
            if out.flags & OutFlag.TOKEN and not skip[out.seq]:
                self.traces[running[out.seq].id].append((out.token, out.logprob))
            skip[out.seq] = max(skip[out.seq] - 1, 0)
        if rows:
            self.n_steps += 1
            self.scheduler.commit(rows, outs, self.n_steps / 100, 10.0)
        for id, delta in self.scheduler.take_deltas():
            self.texts[id] += delta.text
            self.last[id] = delta

    def run(self) -> Hall:
        while not self.scheduler.is_idle:
            self.step()
        return self


@pytest.fixture(scope="module")
def engine(smollm2: Path) -> Iterator[Engine]:
    engine = Engine.open(smollm2, EngineSettings(model_path=str(smollm2), n_ctx=N_CTX, n_seqs=N_SEQS, n_threads=2))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def compiler(engine: Engine) -> Compiler:
    compiler = Compiler(engine.vocab, engine.open_grammar)
    compiler.prepare()
    return compiler


@pytest.fixture(scope="module")
def compiled(compiler: Compiler) -> list[Constraint]:
    """All schemas; says how long they took."""
    seconds, constraints = [], []
    for schema in SCHEMAS:
        started = time.perf_counter()
        constraints.append(compiler.compile(Wish("json_schema", json.dumps(schema), "json_schema")))
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    p50, p99 = (1e3 * seconds[len(seconds) * part // 100] for part in (50, 99))
    print(f"compiled {len(seconds)}: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    return constraints


def test_answers_are_valid(engine: Engine, compiled: list[Constraint]) -> None:
    hall = Hall(engine)
    for id, constraint in enumerate(compiled):
        hall.submit(id, constraint, temperature=0.0 if id % 4 == 0 else 1.0)
    hall.run()
    cut = [id for id in hall.last if hall.last[id].finish is FinishReason.LIMIT]  # some schemas have no longest text
    assert len(cut) < len(SCHEMAS) / 20, [SCHEMAS[id] for id in cut]
    for id in hall.last.keys() - cut:
        assert hall.last[id].finish is FinishReason.EOS, (SCHEMAS[id], hall.texts[id], hall.last[id].error)
        check(hall.texts[id], SCHEMAS[id])
    print(f"{len(SCHEMAS)} schemas, {len(cut)} answers were too long")
    n_tokens = sum(map(len, hall.traces.values()))
    n_right = sum(delta.timings.draft_n_accepted for delta in hall.last.values())
    print(f"{n_tokens} tokens in {hall.n_steps} steps, {n_right} of them forced")


def test_forced_tokens_change_no_bit(engine: Engine, compiled: list[Constraint]) -> None:
    n_steps = {}
    traces = {}
    for n_draft in (0, 7):
        n_steps[n_draft] = 0
        for id in range(0, len(compiled), 3):
            hall = Hall(engine, n_draft=n_draft)
            hall.submit(id, compiled[id])
            n_steps[n_draft] += hall.run().n_steps
            traces[n_draft, id] = hall.traces[id]
    for id in range(0, len(compiled), 3):
        assert traces[0, id] == traces[7, id], SCHEMAS[id]
    assert n_steps[7] < 0.8 * n_steps[0], n_steps
    print(n_steps)


def test_neighbours_and_lost_pages_change_no_bit(engine: Engine, compiled: list[Constraint]) -> None:
    ids = range(0, len(compiled), 9)
    alone = {}
    for id in ids:
        hall = Hall(engine, n_draft=0)
        hall.submit(id, compiled[id])
        alone[id] = hall.run().traces[id]
    n_starved = 0
    for number in range(4):
        draw = random.Random(number)
        hall = Hall(engine, n_batch=draw.choice([16, 64, 512]), n_draft=draw.choice([0, 7]))
        left = draw.sample(ids, len(ids))
        hall.submit(1000, None, "Once upon a time", ignore_eos=True)
        while left or not hall.scheduler.is_idle:
            if left and draw.random() < 0.3:
                id = left.pop()
                hall.submit(id, compiled[id])
            if draw.random() < 0.1 and len(hall.scheduler.running) > 1:
                hall.scheduler.starve()
            hall.step()
        n_starved += hall.scheduler.counters.n_starved
        for id in ids:
            assert hall.traces[id] == alone[id], SCHEMAS[id]
    assert n_starved > 8


def test_stateful_samplers_take_no_guesses_and_fit(engine: Engine, compiled: list[Constraint]) -> None:
    hall = Hall(engine)
    for id in range(0, 32, 4):
        sampling = SamplingParams(seed=id, mirostat=2)
        params = GenerationParams(sampling=sampling, max_tokens=200, constraint=compiled[id], n_draft=0)
        ids = array("i", engine.vocab.tokenize("JSON:"))
        hall.scheduler.submit(Sequence(id=id, prompt=ids, params=params), 0.0)
        hall.traces[id], hall.texts[id] = [], ""
    hall.run()
    for id in range(0, 32, 4):
        check(hall.texts[id], SCHEMAS[id])


GRAMMARS = [
    ('root ::= "yes" | "no"', r"yes|no"),
    ('root ::= "The answer is " [0-9]{1,3} "."', r"The answer is [0-9]{1,3}\."),
    ('root ::= item ("; " item){2}\nitem ::= [a-z]{2,6} "=" [0-9]', r"[a-z]{2,6}=[0-9](; [a-z]{2,6}=[0-9]){2}"),
    ('root ::= "日本" [語人] "😀"', r"日本[語人]😀"),
    ('%llguidance {}\nstart: /[A-Z]{3}/ "-" %json {"enum": [1, 2]}', r"[A-Z]{3}-[12]"),
]


@pytest.mark.parametrize(("text", "pattern"), GRAMMARS)
def test_grammars(engine: Engine, compiler: Compiler, text: str, pattern: str) -> None:
    kind = "lark" if text.startswith("%llguidance") else "gbnf"
    constraint = compiler.compile(Wish(kind, text, "grammar"))
    hall, slow = Hall(engine), Hall(engine, n_draft=0)
    for id in range(8):
        hall.submit(id, constraint, "Q: What is it?\nA: ")
        slow.submit(id, constraint, "Q: What is it?\nA: ")
    hall.run(), slow.run()
    assert all(re.fullmatch(pattern, said) for said in hall.texts.values()), hall.texts
    assert hall.traces == slow.traces


@pytest.mark.parametrize("name", ["json", "arithmetic", "c", "chess", "english", "japanese", "json_arr", "list"])
def test_example_grammars(engine: Engine, compiler: Compiler, root: Path, name: str) -> None:
    """The answers never leave the grammar, also where they are cut."""
    text = (root / "docs" / "grammars" / f"{name}.gbnf").read_text()
    constraint = compiler.compile(Wish("gbnf", text, "grammar"))
    hall = Hall(engine)
    for id in range(4):
        hall.submit(id, constraint)
    hall.run()
    for id in range(4):
        assert hall.last[id].finish in (FinishReason.EOS, FinishReason.LIMIT), hall.last[id].error
        place = constraint.begin()
        taken = [place.advance(token) for token, _ in hall.traces[id]]
        assert all(taken[:-1])


def test_a_lazy_grammar(engine: Engine, compiler: Compiler) -> None:
    constraint = compiler.compile(Wish("gbnf", 'root ::= " the" " END"', "grammar", words=(" the",)))
    hall = Hall(engine)
    hall.submit(0, constraint, "The cat sat on", temperature=0.0)
    hall.run()
    assert hall.texts[0].endswith(" the END")
    assert hall.texts[0].count(" the") == 1


def test_a_grammar_that_begins_within_a_token(engine: Engine, compiler: Compiler) -> None:
    """The token " the" is said before the pattern is found, which wants the grammar from its third byte on."""
    pattern = Pattern(r"\w(he)\b")
    hall = Hall(engine)
    hall.submit(
        0,
        compiler.compile(Wish("gbnf", 'root ::= "he END"', "grammar", patterns=(pattern,))),
        "The cat sat on",
        temperature=0.0,
    )
    hall.run()
    assert hall.texts[0].endswith(" the END")
    assert hall.texts[0].count(" the") == 1


HOSTILE = {
    "ambiguous": 'root ::= x\nx ::= "a" | y y | y\ny ::= "a" | "aa" | x2 x2\nx2 ::= "a" | "a" "a" | "aaa"?',
    "nested stars": 'root ::= (("a"? "b"?)* "c"?)*',
    "counted": 'root ::= ([a-z]{0,1000} "x"?){0,1000}',
    "many rules": "root ::= "
    + " | ".join(f"r{n}" for n in range(2000))
    + "".join(f'\nr{n} ::= "a"* "{n}"' for n in range(2000)),
    "schema": json.dumps({"type": "string", "pattern": "^(.*a.{40}|.*b.{50}|.*c.{60})$"}),
    "optional members": json.dumps({"properties": {f"p{n}": {"type": "string"} for n in range(1000)}}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_ones_end_or_are_refused_and_a_canary_is_the_same(
    engine: Engine, compiler: Compiler, name: str
) -> None:
    alone = Hall(engine, n_draft=0)
    alone.submit(0, None, "The capital of France is", temperature=0.0)
    alone.run()
    hall, kind = Hall(engine), "json_schema" if HOSTILE[name].startswith("{") else "gbnf"
    hall.submit(0, None, "The capital of France is", temperature=0.0)
    try:
        constraint = compiler.compile(Wish(kind, HOSTILE[name], "grammar"))
    except BadRequest as error:
        print(name, error.message[:100])
    else:
        for id in (1, 2, 3):
            hall.submit(id, constraint, logit_bias=((engine.vocab.info.eos, -100.0),))
    hall.run()
    assert hall.traces[0] == alone.traces[0]
    for id, delta in hall.last.items():
        assert delta.finish is not FinishReason.ERROR or isinstance(delta.error, BadRequest), (id, delta)
    print(name, {id: (str(delta.finish), len(hall.traces[id]), str(delta.error)) for id, delta in hall.last.items()})


THINKER = (
    "{% for m in messages %}{% if m.role == 'user' %}Q: {{ m.content }}\n"
    "{% else %}A: <think>easy</think> {{ m.content }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}A:{% if opens %} <think>{% endif %}{% endif %}"
)


@pytest.mark.parametrize("opens", [True, False])
def test_a_thought_over_http_and_then_an_answer_that_fits(
    tmp_path: Path, engine_library: Path, smollm2: Path, opens: bool
) -> None:
    """The model imitates the thoughts before, whether the template opens them or not."""
    (tmp_path / "template").write_text(THINKER)
    said = ["2 + 2?", "4", "3 + 3?", "6", "1 + 1?", "2", "5 + 2?", "7", "4 + 4?"]
    body = {
        "messages": [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)],
        "response_format": {"type": "json_object", "schema": {"type": "integer", "minimum": 0, "maximum": 99}},
        "chat_template_kwargs": {"opens": opens},
        "max_tokens": 60,
        "temperature": 0,
    }
    with serving(tmp_path, "-m", str(smollm2), "-c", "2048", "--chat-template-file", "template") as server:
        server.wait_for_health(200)
        status, reply = server.ask("POST", "/v1/chat/completions", body)
        assert status == 200, reply
        message, finish = reply["choices"][0]["message"], reply["choices"][0]["finish_reason"]
    assert message["reasoning_content"] == "easy"
    assert 0 <= int(message["content"]) <= 99 and finish == "stop"


COSTLY = [
    {"json_schema": {"allOf": [{"pattern": f"^.*a.{{{n}}}$"} for n in range(1, 30)]}},
    {"json_schema": {"properties": {f"p{n}": {"type": "integer"} for n in range(8000)}}},
    {"json_schema": {"enum": [f"value {n}" for n in range(9000)]}},
    {"grammar": "root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000},
    {"grammar": HOSTILE["many rules"]},
    {"grammar": HOSTILE["ambiguous"]},
    {"json_schema": json.loads(HOSTILE["schema"])},
]


def test_costly_ones_over_http_leave_a_stream_as_it_is(tmp_path: Path, engine_library: Path, smollm2: Path) -> None:
    canary = {"prompt": "The capital of France is", "n_predict": 100, "temperature": 0, "ignore_eos": True}
    with serving(tmp_path, "-m", str(smollm2), "-c", "4096", "-np", "4") as server:
        server.wait_for_health(200)
        alone = [event["content"] for event in server.stream(canary)]
        with ThreadPoolExecutor(len(COSTLY)) as pool:
            asked = [
                pool.submit(server.ask, "POST", "/completion", {"prompt": "x", "n_predict": 20, **c}) for c in COSTLY
            ]
            for _ in range(3):
                assert [event["content"] for event in server.stream(canary)] == alone
            statuses = [one.result()[0] for one in asked]
        assert set(statuses) <= {200, 400}
        assert statuses[:2] == [400, 400]
        assert statuses[3] == 400
        assert "Traceback" not in server.log.read_text()
