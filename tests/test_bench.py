"""The measuring programs' own arithmetic: tests by name, what the roofline allows, CSV files, the picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from bench import cost, depth, kvcost, options, plot, results, roofline, shapes, threads, workload
from bench.cost import Cost
from bench.roofline import Roofline
from llamatw.capi.engine import Engine
from llamatw.settings import KV_TYPES, EngineSettings

LIMITS = Roofline("avx2", 2, int8_1=1e9, int8_all=1e9, read_1=1e9, read_all=1e9)
COST = Cost(1000, 100, weight_bytes=5000, expert_bytes=0, expert_share=0, attention_macs=10, kv_bytes=20)


class Scribe:
    """A subject that notes what is asked of it."""

    n_vocab = 1000

    def __init__(self) -> None:
        self.calls: list[object] = []

    def start(self, prompts: list[list[int]], n_each: int) -> None:
        self.calls.append(([len(ids) for ids in prompts], n_each))

    def advance(self, seq: int, n_tokens: int) -> None:
        self.calls.append((seq, n_tokens))

    def generate(self) -> None:
        self.calls.append("generate")


def only(name: str) -> workload.Test:
    (test,) = workload.parse(name)
    return test


def test_names() -> None:
    tests = workload.parse("pp512,tg32@4096,b8")
    assert [(t.name, t.kind, t.n, t.depth) for t in tests] == [
        ("pp512", "pp", 512, 0),
        ("tg32@4096", "tg", 32, 4096),
        ("b8", "b", 8, 0),
    ]


@pytest.mark.parametrize("name", ["", "pp0", "pp", "tg32@", "x8", "b8@-1", "pp512,"])
def test_wrong_names(name: str) -> None:
    with pytest.raises(ValueError, match="is not a test"):
        workload.parse(name)


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("pp700@600", [([1300], 1301), (0, 512), (0, 88), (0, 512), (0, 188)]),
        ("tg2", [([16], 19), (0, 16), "generate", "generate"]),
        ("tg1@600", [([600], 602), (0, 512), (0, 88), "generate"]),
        ("b2", [([16, 16], 49), (0, 16), (1, 16), *["generate"] * 32]),
    ],
)
def test_timing_loop(name: str, calls: list[object]) -> None:
    scribe = Scribe()
    rates = workload.measure(scribe, workload.Job("", 1, [only(name)], repeats=1))
    assert [len(samples) for samples in rates.values()] == [1]
    assert scribe.calls[-len(calls) :] == calls


@pytest.mark.parametrize(
    ("name", "seconds_per_step"),
    [
        ("pp512", (512 * (1000 + 10 * 256) + 100) * 1e-9),
        ("tg2@199", (5000 + 200 * 20) * 1e-9),
        ("b16", 16 * (1000 + 100 + 10 * 32) * 1e-9),
    ],
)
def test_limit(name: str, seconds_per_step: float) -> None:
    test = only(name)
    per_step = 512 if test.kind == "pp" else test.n_seqs
    assert COST.limit(test, LIMITS) == pytest.approx(per_step / seconds_per_step)


@pytest.mark.usefixtures("engine_library")
def test_cost_of_a_model(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    shapes.write(shapes.SHAPES["tiny"], "Q8_0", path)
    found = cost.of_model(str(path), "f16", "q8_0")
    body = 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 256 * 512)
    assert (found.body_macs, found.head_macs) == (body, 512 * 256)
    assert found.weight_bytes == (body + 512 * 256) * 34 // 32
    assert (found.attention_macs, found.kv_bytes) == (2 * 4 * 128, 2 * 2 * 64 * (2 + 34 / 32))


@pytest.mark.usefixtures("engine_library")
def test_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.gguf"
    shapes.write(shapes.SHAPES["tiny"], "Q8_0", path)
    monkeypatch.setattr(roofline, "measure", lambda _: LIMITS)
    found = depth.measure(workload.Job(str(path), 2, [], k_type="f16", v_type="q8_0"), [64, 272], n_rounds=1)
    n_bytes = [48 * 2 * 2 * 64 * (2 + 34 / 32), 256 * 2 * 2 * 64 * (2 + 34 / 32)]
    assert [f.limit_us for f in found] == pytest.approx([n / 1e9 * 1e6 for n in n_bytes], abs=0.1)
    assert all(f.ratio == pytest.approx(f.extra_us / f.limit_us, rel=0.02, abs=0.05) for f in found)
    assert {f.steps for f in found} == {depth.N_STEPS - depth.N_WARM_UP}


def test_every_kv_type_has_its_bytes() -> None:
    assert cost.KV_BYTES.keys() == set(KV_TYPES)
    assert (cost.KV_BYTES["i16"], cost.KV_BYTES["q8_0"]) == (2.0625, 1.0625)


def test_divergence() -> None:
    half, quarter = np.log([[0.5, 0.5], [0.25, 0.75]]).astype(np.float32)
    found = kvcost.divergence(np.stack([half, half]) + 3, np.stack([half, quarter]))
    assert found == pytest.approx([0, 0.5 * np.log(2) + 0.5 * np.log(2 / 3)], abs=1e-6)


@pytest.mark.usefixtures("engine_library")
def test_kv_cost(tmp_path: Path) -> None:
    path = str(tmp_path / "tiny.gguf")
    shapes.write(shapes.SHAPES["tiny"], "F32", Path(path))
    texts = [{"prompt": "as an object"}, {"ids": list(range(5, 75))}, "or as a text"]
    exact, agreed = kvcost.compare(path, 2, texts, ("f32", "f32"))
    assert agreed.all() and not exact.any() and len(exact) > 70 + 20
    worst = [float(kvcost.compare(path, 2, texts, kv)[0].max()) for kv in kvcost.TYPES]
    assert all(0 < kl < 1e-2 for kl in worst)


@pytest.mark.parametrize(
    ("most", "usual", "tried"),
    [(1, 1, [1]), (2, 2, [1, 2]), (10, 5, [1, 2, 3, 4, 5, 6, 8, 10]), (2, 4, [1, 2])],
)
def test_thread_counts(most: int, usual: int, tried: list[int]) -> None:
    assert threads.counts(most, usual) == tried


@pytest.mark.usefixtures("engine_library")
def test_the_fastest_number_of_threads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.gguf"
    shapes.write(shapes.SHAPES["tiny"], "Q4_0", path)
    job = workload.Job(str(path), 1, workload.parse("pp8,tg2"), repeats=1)
    rows = threads.measure(job, [1, 2], 1)
    assert [(row.threads, row.test, row.repeats) for row in rows] == [(n, t, 1) for n in (1, 2) for t in ("pp8", "tg2")]
    threads.show(rows, 2)
    head, *lines, key = capsys.readouterr().out.splitlines()
    assert head.split() == ["threads", "pp8", "tg2"]
    assert [line.split()[0] for line in lines] == ["1", "2"] and "*" in lines[1] and "*" in key
    assert sum("(100%)" in line for line in lines) >= 1


@pytest.mark.usefixtures("engine_library")
def test_as_many_threads_as_an_engine_has(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    shapes.write(shapes.SHAPES["tiny"], "Q4_0", path)
    engine = Engine.open(str(path), EngineSettings(model_path=str(path)))
    assert options.thread_count() == engine.info.n_threads > 0
    engine.close()


def test_roofline_summary() -> None:
    measured = [msgspec.structs.replace(LIMITS, read_all=rate) for rate in (1.0, 4.0, 2.0)]
    summary = roofline.summary(measured)
    assert (summary.read_all, summary.read_all_median) == (4.0, 2.0)


def test_a_file_gains_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(msgspec.Struct):
        a: int

    class New(Old):
        b: str

    monkeypatch.setattr(results, "FOLDER", tmp_path)
    results.append("x", [Old(1)])
    path = results.append("x", [New(2, "two, three")])
    assert path.read_text() == 'a,b\n1,\n2,"two, three"\n'
    assert results.read("y") == []


def row(engine: str, test: str, median: float, **others: str) -> plot.Row:
    run = {"date": "d", "commit": "c", "machine": "m", "threads": "2", "model": "a<b.gguf"}
    return {**run, "engine": engine, "test": test, "median": str(median), "fraction": "0.2", **others}


def test_picture() -> None:
    engines = "llamatw", "other"
    old = row("llamatw", "pp512", 1, date="before")
    rows = [old, *(row(e, t, 1234) for e in engines for t in ("pp512", "tg32@4096", "b1", "b32"))]
    svg = plot.picture(plot.last_run(rows), rows)
    assert len(svg) < 20000
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text and element.text.strip()]
    assert texts.count("1234") == 8
    assert "1 stream of 32 tokens after 4096" in texts
    assert "a<b, 2 threads" in texts


def test_no_picture_without_figures() -> None:
    assert plot.last_run([]) == []
    assert ElementTree.fromstring(plot.picture([], [])).tag.endswith("svg")
