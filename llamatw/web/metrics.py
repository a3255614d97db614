"""/metrics: the snapshot's counters, gauges and histograms as Prometheus text, served with --metrics only.

Names that begin with llamacpp: are those of llama-server and mean what they mean there; ours begin with llamatw_.  All
are listed in docs/operating.md and stay as they are: dashboards and alerts hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from klein import Klein
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from llamatw.engine.histogram import Distribution
from llamatw.engine.stats import Snapshot
from llamatw.errors import NotSupported
from llamatw.web.api import Api, Request

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Row = tuple[str, str, Callable[[Snapshot], float]]  # name, help, value
LabelledRow = tuple[str, str, str, Callable[[Snapshot], Mapping[str, float]]]  # name, label, help, value by label

_COUNTERS: list[Row] = [
    ("llamacpp:prompt_tokens_total", "Prompt tokens computed.", lambda s: s.n_prompt_tokens),
    ("llamacpp:prompt_tokens_cached_total", "Prompt tokens found in the cache.", lambda s: s.n_cached_tokens),
    ("llamacpp:prompt_seconds_total", "Seconds in steps that computed prompt tokens.", lambda s: s.prompt_ms / 1e3),
    ("llamacpp:tokens_predicted_total", "Tokens generated.", lambda s: s.n_predicted_tokens),
    (
        "llamacpp:tokens_predicted_seconds_total",
        "Seconds in steps that only generated.",
        lambda s: s.predicted_ms / 1e3,
    ),
    ("llamacpp:n_decode_total", "Steps that ran.", lambda s: s.step_s.n),
    ("llamacpp:spec_decode_num_drafts_total", "Rows that carried guesses.", lambda s: s.n_drafts),
    ("llamacpp:spec_decode_num_draft_tokens_total", "Tokens guessed.", lambda s: s.n_drafted),
    ("llamacpp:spec_decode_num_accepted_tokens_total", "Guesses that were right.", lambda s: sum(s.n_right)),
    ("llamatw_requests_submitted_total", "Sequences submitted.", lambda s: s.n_requests),
    ("llamatw_steps_total", "Steps tried, those without pages or with errors included.", lambda s: s.n_steps),
    ("llamatw_cache_hit_tokens_total", "Prompt tokens found in the cache.", lambda s: s.n_cached_tokens),
    ("llamatw_sequences_starved_total", "Times that a sequence gave up its pages to others.", lambda s: s.n_starved),
]
_GAUGES: list[Row] = [
    ("llamacpp:n_tokens_max", "Tokens of the longest sequence so far.", lambda s: s.n_tokens_max),
    ("llamacpp:prompt_tokens_seconds", "Prompt tokens per second of late.", lambda s: s.prompt_per_second),
    ("llamacpp:predicted_tokens_seconds", "Generated tokens per second of late.", lambda s: s.predicted_per_second),
    ("llamacpp:requests_processing", "Sequences that run.", lambda s: s.n_processing),
    ("llamacpp:requests_deferred", "Sequences that wait.", lambda s: s.n_waiting),
    ("llamacpp:n_busy_slots_per_decode", "Sequences in a step, on average.", lambda s: s.n_rows / max(s.step_s.n, 1)),
    ("llamatw_requests_running", "Sequences that run.", lambda s: s.n_processing),
    ("llamatw_requests_waiting", "Sequences that wait.", lambda s: s.n_waiting),
]
_HISTOGRAMS: list[tuple[str, str, Callable[[Snapshot], Distribution]]] = [
    ("llamatw_queue_seconds", "Arrival to the first step.", lambda s: s.queue_s),
    ("llamatw_time_to_first_token_seconds", "Arrival to the first token.", lambda s: s.first_token_s),
    ("llamatw_inter_token_seconds", "A token to the next of its sequence.", lambda s: s.gap_s),
    ("llamatw_step_seconds", "One step of the engine.", lambda s: s.step_s),
    ("llamatw_request_seconds", "Arrival to end, of sequences not given up.", lambda s: s.whole_s),
    ("llamatw_prompt_tokens", "Length of the prompt, of sequences not given up.", lambda s: s.prompt_tokens),
    ("llamatw_output_tokens", "Tokens generated, of sequences not given up.", lambda s: s.output_tokens),
]
_LABELLED_COUNTERS: list[LabelledRow] = [
    (
        "llamacpp:spec_decode_num_accepted_tokens_per_pos_total",
        "position",
        "Right guesses by place in their row, from 0.",
        lambda s: {str(place): n for place, n in enumerate(s.n_right)},
    ),
    ("llamatw_requests_finished_total", "reason", "Sequences by how they ended.", lambda s: s.finished),
    ("llamatw_requests_cancelled_total", "phase", "Sequences aborted, by how far they came.", lambda s: s.cancelled),
]


def add_routes(app: Klein, api: Api) -> None:
    started = b"%d" % api.reactor.seconds()

    @app.route("/metrics", methods=["GET"])
    def metrics(request: Request) -> bytes:
        if not api.settings.metrics:
            raise NotSupported("/metrics is served only when the server has been started with --metrics")
        _ = api.engine.info  # nothing has been counted while the model is being loaded
        text = render(api.engine.snapshot(), api.engine.stuck() is not None, api.n_refused)
        request.setHeader(b"content-type", CONTENT_TYPE)
        request.setHeader(b"process-start-time-unix", started)
        request.setHeader(b"content-length", b"%d" % len(text))
        return text


class _Families(Collector):
    """What the library renders: families that have their values already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(snapshot: Snapshot, stuck: bool, n_refused: Mapping[int, int]) -> bytes:
    """The text.  n_refused: requests by the status that they were refused with."""
    return generate_latest(_Families(_families(snapshot, stuck, n_refused)))


def _families(snapshot: Snapshot, stuck: bool, n_refused: Mapping[int, int]) -> Iterator[Metric]:
    for name, text, value in _COUNTERS:
        yield CounterMetricFamily(name, text, value=value(snapshot))
    for name, text, value in _GAUGES:
        yield GaugeMetricFamily(name, text, value=value(snapshot))
    for name, text, distribution in _HISTOGRAMS:
        yield _histogram(name, text, distribution(snapshot))
    for name, label, text, values in _LABELLED_COUNTERS:
        yield _labelled(CounterMetricFamily(name, text, labels=[label]), values(snapshot))
    refused = CounterMetricFamily("llamatw_requests_refused_total", "Requests by refusing status.", labels=["status"])
    yield _labelled(refused, {str(status): n for status, n in n_refused.items()})
    yield _labelled(GaugeMetricFamily("llamatw_kv_pages", "KV pages by state.", labels=["state"]), _pages(snapshot))
    yield GaugeMetricFamily("llamatw_engine_stuck", "1 while /health says that the engine is stuck.", value=stuck)


def _pages(snapshot: Snapshot) -> dict[str, float]:
    engine = snapshot.engine
    return {"free": engine.pages_free, "cached": engine.pages_cached, "used": engine.pages_used}


def _labelled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]) -> Metric:
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _histogram(name: str, text: str, distribution: Distribution) -> Metric:
    bounds = [*map(str, distribution.bounds), "+Inf"]
    buckets = list(zip(bounds, distribution.cumulative(), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=distribution.total)
