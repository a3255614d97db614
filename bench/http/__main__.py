"""Drives a server over HTTP and says what clients see: a table, and rows of bench/results/http.csv.

    python -m bench.http [scenario[:name=value,...] ...] [-m MODEL] [-t THREADS] [-- server flags]
    python -m bench.http [scenario[:name=value,...] ...] --url http://HOST:PORT

Without names, all scenarios.  Each gets a server of its own, with `-np 8`, API keys and the flags after `--`.
A server that is given by its URL may know prompts from before: choose another --seed for each run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bench.http import chats, held, hostile, rough, steady
from bench.http.client import KEYS, Client
from bench.http.load import Load, Scenario
from bench.http.measures import Figure, Measures, medians, rounded, show
from bench.http.server import Process, serving
from bench.http.text import Prompts
from bench.options import thread_count
from bench.results import append, run_columns
from bench.workload import Job
from llamatw import models

FLAGS = ["-np", "8", "--api-key", ",".join(KEYS)]
N_WARM_UP = 16  # tokens
POLL_S = 0.02
SCENARIOS: dict[str, Scenario] = {
    "single": steady.single,
    "concurrent": steady.concurrent,
    "shared-prefix": steady.shared_prefix,
    "stall": rough.stall,
    "multi-turn": chats.multi_turn,
    "poisson": steady.poisson,
    "flood": rough.flood,
    "idle": rough.idle,
    "lookup": steady.lookup,
    "cancel": rough.cancel,
    "held": held.held,
    "hostile": hostile.hostile,
}


class Wish(msgspec.Struct, frozen=True):
    """A scenario with its arguments, as on the command line: "poisson:rate=8,n_requests=100"."""

    words: str
    name: str
    arguments: dict[str, int | float]


class Subject(msgspec.Struct, frozen=True):
    """A server that runs."""

    url: str
    model: str
    threads: int  # 0: not known
    flags: str
    process: Process | None = None


def main() -> None:
    wishes = _arguments(sys.argv[1:])
    for wish in wishes.scenarios or [parse(name) for name in SCENARIOS]:
        with _subject(wishes) as subject:
            repeats = [asyncio.run(_repeat(wishes, wish, subject, number)) for number in range(wishes.repeats)]
        figures = _figures(wishes, wish, subject, repeats)
        show(figures)
        print(append("http", figures))


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    own, flags = _split(list(argv))
    named = "\n".join(f"    {name:14} {str(run.__doc__).splitlines()[0]}" for name, run in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n{named}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", type=parse, metavar="SCENARIO")
    parser.add_argument("--url", help="of a server that runs already (no -m, -t, server flags)")
    parser.add_argument("-m", "--model", help="path or name (the default model)")
    parser.add_argument("-t", "--threads", type=int, help="of the server (one per processor)")
    parser.add_argument("--repeats", type=int, default=3, help="with other prompts each (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of prompts, arrivals, departures (%(default)s)")
    parser.add_argument("--extra", type=_fields, default={}, help="JSON object: fields for each generating request")
    wishes = parser.parse_args(own)
    wishes.flags = flags
    if wishes.repeats < 1:
        parser.error("--repeats must be at least 1")
    if wishes.url and (wishes.model or wishes.threads or flags):
        parser.error("--url is of a server that has its model and flags already")
    return wishes


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Ours, and those after `--`."""
    if "--" not in argv:
        return argv, []
    cut = argv.index("--")
    return argv[:cut], argv[cut + 1 :]


def parse(words: str) -> Wish:
    name, _, given = words.partition(":")
    if name not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    known = {p.name: p.default for p in inspect.signature(SCENARIOS[name]).parameters.values() if p.name != "load"}
    arguments = {}
    for pair in filter(None, given.split(",")):
        argument, _, value = pair.partition("=")
        if argument not in known:
            raise argparse.ArgumentTypeError(f"{name} has no {argument!r}; it has {', '.join(known)}")
        arguments[argument] = _number(argument, value, type(known[argument]))
    return Wish(words, name, arguments)


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    """Above zero: nothing else makes sense for a count or a rate."""
    with contextlib.suppress(ValueError):
        value = kind(text)
        if 0 < value < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{name} must be a {'whole ' if kind is int else ''}number above 0, not {text!r}")


def _fields(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object: {error}") from None


@contextlib.contextmanager
def _subject(wishes: argparse.Namespace) -> Iterator[Subject]:
    if wishes.url:
        model = asyncio.run(Client(wishes.url).value("GET", "/props"))["model_path"]
        yield Subject(wishes.url, model, 0, wishes.url)
        return
    model, threads = str(models.resolve(wishes.model)), wishes.threads or thread_count()
    flags = [*FLAGS, *wishes.flags]
    with serving(["-m", model, "-t", str(threads), *flags]) as (url, process):
        yield Subject(url, model, threads, " ".join(flags), process)


async def _repeat(wishes: argparse.Namespace, wish: Wish, subject: Subject, number: int) -> Measures:
    client, draw = Client(subject.url), random.Random(f"{wishes.seed} {wish.name} {number}")
    job = Job(subject.model, subject.threads, []) if subject.process else None
    load = Load(client, Prompts(client, draw), draw, wishes.extra, subject.process, job)
    await until_ready(client)
    await load.run(await load.prompts.text(N_WARM_UP), N_WARM_UP)
    return await SCENARIOS[wish.name](load, **wish.arguments)


async def until_ready(client: Client) -> None:
    """Raises RuntimeError where the model cannot be loaded."""
    while (answer := await client.ask("GET", "/health")).status != 200:
        if b"loading" not in answer.body:
            raise RuntimeError(f"/health: status {answer.status}, {answer.body[:500]!r}")
        await asyncio.sleep(POLL_S)


def _figures(wishes: argparse.Namespace, wish: Wish, subject: Subject, repeats: Sequence[Measures]) -> list[Figure]:
    columns = run_columns(subject.model, subject.threads) | {
        "scenario": wish.words,
        "flags": subject.flags,
        "extra": msgspec.json.encode(wishes.extra).decode() if wishes.extra else "",
        "seed": wishes.seed,
    }
    return [
        Figure(**columns, measure=name, median=rounded(median), least=rounded(least), most=rounded(most), repeats=count)
        for name, (median, least, most, count) in medians(repeats).items()
    ]


if __name__ == "__main__":
    main()
