"""Grammars tried in a process of their own: with limits for each, whatever became of the one before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from llguidance import LLMatcher

from llamatw.engine.trial import Trials
from llamatw.errors import Unavailable

EXPONENTIAL = {"allOf": [{"pattern": f"^.*a.{{{n}}}$"} for n in range(1, 30)]}


def source(schema):
    return LLMatcher.grammar_from_json_schema(json.dumps(schema))


@pytest.fixture
def trials():
    trials = Trials()
    trials.prepare()
    return trials


def the_helper(trials):
    (helper,) = trials._idle
    return helper


def test_verdicts_come_from_one_helper(trials):
    helper = the_helper(trials)
    assert trials.verdict(source({"type": "integer"})) == ""
    assert "Unimplemented keys" in trials.verdict(source({"not": {}}))
    assert trials.verdict("no grammar")
    assert the_helper(trials) is helper


def test_limits_hold_for_each_trial_and_the_helper_outlives_them(trials):
    helper = the_helper(trials)
    for _ in range(2):
        assert "too long or too much memory" in trials.verdict(source(EXPONENTIAL))
        assert trials.verdict(source({"type": "boolean"})) == ""
    assert the_helper(trials) is helper


@pytest.mark.parametrize(("handler", "ending"), [("SIG_DFL", signal.SIGPROF), ("SIG_IGN", signal.SIGKILL)])
def test_processor_time_ends_also_where_the_timers_signal_is_ignored(handler, ending):
    text = f"import signal; signal.signal(signal.SIGPROF, signal.{handler}); trial._limit()\nwhile True: pass"
    ended = subprocess.run([sys.executable, "-c", f"from llamatw.engine import trial; {text}"], timeout=60)
    assert ended.returncode == -ending


def test_several_at_once(trials):
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(trials.verdict, source({"const": n} if n % 2 else {"not": {}})) for n in range(20)]
        assert [bool(one.result()) for one in asked] == [True, False] * 10
    assert len(trials._idle) <= 4


def test_a_helper_that_died_while_idle_is_replaced(trials):
    dead = the_helper(trials)
    os.kill(dead._process.pid, signal.SIGKILL)
    dead._process.wait()
    assert trials.verdict(source({"type": "null"})) == ""
    assert the_helper(trials) is not dead


def test_a_helper_that_dies_meanwhile_is_an_outage_not_a_bad_schema(trials):
    dead = the_helper(trials)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(trials.verdict, source(EXPONENTIAL))
        while trials._idle:
            pass
        os.kill(dead._process.pid, signal.SIGKILL)
        with pytest.raises(Unavailable):
            asked.result()
    assert trials.verdict(source({"type": "null"})) == ""


def test_without_a_verdict_in_time_the_trial_ends_with_its_helper(trials, monkeypatch):
    monkeypatch.setattr("llamatw.engine.trial._WALL_S", 0.0)
    slow = the_helper(trials)
    assert trials.verdict(source(EXPONENTIAL)) == "compiling it takes too long"
    assert not trials._idle and not slow.is_alive


def test_whoever_waits_when_all_is_over_waits_no_more(trials):
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(trials.verdict, source(EXPONENTIAL)) for _ in range(2)]
        while len(trials._busy) < 2:
            pass
        helpers = set(trials._busy)
        trials.stop()
        for one in asked:
            with pytest.raises(Unavailable, match="stopping"):
                one.result()
    assert not any(helper.is_alive for helper in helpers)
    with pytest.raises(Unavailable, match="stopping"):
        trials.verdict(source({"type": "null"}))


def test_helpers_end_with_their_owner():
    trials = Trials()
    trials.prepare()
    process = the_helper(trials)._process
    del trials
    assert process.returncode == -signal.SIGKILL
