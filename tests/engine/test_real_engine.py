"""The scheduler over the real engine: crowded, starved and reopened, a sequence says what it says alone."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from llamatw.capi.engine import Engine
from llamatw.capi.records import SamplingParams
from llamatw.engine.pump import Pump
from llamatw.engine.sequence import FinishReason, GenerationParams
from llamatw.engine.service import EngineService
from llamatw.settings import MAX_DRAFT, EngineSettings
from tests import recurrent_models

PROMPTS = [
    "Once upon a time there was a fox who",
    "def fibonacci(n):\n",
    "Zażółć gęślą jaźń, 東京は日本の",
    "The five largest cities of Europe are",
]
LENGTHS = [60, 70, 80, 90]  # each outgrows a page of 64, of which there are four


class InlineReactor(Clock):
    def callFromThread(self, f, *args):
        f(*args)


@pytest.fixture(scope="module", params=["smollm2", "gemma3", "qwen35"])
def model_path(request, engine_library, tmp_path_factory):
    if request.param == "qwen35":
        return recurrent_models.write("qwen35", tmp_path_factory.mktemp("recurrent") / "model.gguf")
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def serve(model_path):
    """serve([n, ...]) runs these prompts at once and gives their texts, ids and ends, and how often one was starved."""
    settings = EngineSettings(model_path=str(model_path), n_ctx=256, n_seqs=4, n_batch=64)
    engine = Engine.open(settings.model_path, settings)
    pump, reactor = Pump(), InlineReactor()
    service = EngineService(settings, reactor, opener=lambda *_: engine, spawn=pump)
    service.startService()
    pump.run()

    def run(numbers, **more):
        streams = []
        for n in numbers:
            sampling = SamplingParams(seed=n, temperature=1.2, top_k=0, top_p=1.0, min_p=0.0, ignore_eos=True, **more)
            n_draft = MAX_DRAFT if sampling.is_stateless else 0
            params = GenerationParams(sampling=sampling, max_tokens=LENGTHS[n], n_draft=n_draft)
            streams.append(service.submit(service.tokenize(PROMPTS[n], add_special=True), params))
            pump.run(3)
        pump.run()
        return [drain(stream) for stream in streams], service.snapshot().n_starved

    yield run
    service.stopService()
    pump.run()


def drain(stream):
    deltas = list(stream._unread)
    tokens = [token for delta in deltas for token in delta.tokens]
    return "".join(delta.text for delta in deltas), tokens, deltas[-1].finish


@pytest.mark.parametrize(
    "more",
    [{}, {"mirostat": 1}, {"mirostat": 2}, {"samplers": ("adaptive_p",), "adaptive_target": 0.3}],
    ids=lambda more: next(iter(more), "usual"),
)
def test_a_crowd_in_a_small_pool(serve, more):
    """Also with samplers that have a state, which outlives the loss of the pages."""
    alone = [serve([n], **more)[0][0] for n in range(4)]
    assert [finish for _, _, finish in alone] == [FinishReason.LIMIT] * 4
    assert [len(tokens) for _, tokens, _ in alone] == LENGTHS
    n_before = serve([0], **more)[1]
    together, n_starved = serve([0, 1, 2, 3], **more)
    assert n_starved > n_before, "four of them do not fit into 256 tokens"
    assert together == alone
