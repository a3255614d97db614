"""The options that the measuring programs share."""

from __future__ import annotations

import argparse

from bench.workload import DEFAULT_TESTS, Job, Test, parse
from llamatw import models
from llamatw.capi._lib import library
from llamatw.settings import KV_TYPE_DEFAULT, KV_TYPES


def thread_count() -> int:
    """As many threads as the server has by itself."""
    return int(library().lt_thread_count())


def count(text: str) -> int:
    """For argparse: 1 or more."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def short_parser(description: str | None) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("-m", "--model", help="path or name (the default model)")
    result.add_argument("-t", "--threads", type=count, default=thread_count(), help="(%(default)s)")
    return result


def parser(description: str | None) -> argparse.ArgumentParser:
    result = short_parser(description)
    result.add_argument("--rounds", type=count, default=3, help="processes for each engine (%(default)s)")
    result.add_argument("--repeats", type=count, default=3, help="in each round (%(default)s)")
    for flag, name, what in (("-ctk", "--cache-type-k", "keys"), ("-ctv", "--cache-type-v", "values")):
        result.add_argument(
            flag, name, default=KV_TYPE_DEFAULT, choices=KV_TYPES, help=f"type of cached {what} (%(default)s)"
        )
    return result


def parser_with_tests(description: str | None) -> argparse.ArgumentParser:
    result = parser(description)
    result.add_argument("--tests", default=DEFAULT_TESTS, type=parse, help="as in bench/workload.py (%(default)s)")
    return result


def job(wishes: argparse.Namespace, tests: list[Test], model: str | None = None) -> Job:
    """Of the model at this path, else the one asked for."""
    path = model or str(models.resolve(wishes.model))
    return Job(path, wishes.threads, tests, wishes.repeats, wishes.cache_type_k, wishes.cache_type_v)
