"""The watchdog's verdicts: told the time and a heartbeat."""

from __future__ import annotations

import pytest
from twisted.logger import LogLevel, capturedLogs

from llamatw.engine.histogram import SECONDS, Histogram
from llamatw.engine.watchdog import Heartbeat, Watchdog, patience

STEP = Heartbeat(100.0, ((7, 512), (9, 1)))


def took(*seconds):
    histogram = Histogram(SECONDS)
    for value in seconds:
        histogram.add(value)
    return histogram.copy()


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        ([], 30.0),
        ([0.02] * 1000, 30.0),
        ([0.02] * 985 + [2.0] * 15, 50 * 2.0),
        ([0.02] * 999 + [2.0], 30.0),
        ([2000.0], 50 * 2000.0),
    ],
)
def test_patience(steps, seconds):
    assert patience(took(*steps)) == seconds


def test_idle_and_working():
    dog = Watchdog()
    assert dog.look(None, took(), 1e9) is None
    assert dog.look(STEP, took(), 129.9) is None


def test_a_stuck_step_is_told_with_its_requests_and_logged_once():
    dog = Watchdog()
    with capturedLogs() as events:
        assert "for 30 s" in dog.look(STEP, took(), 130.0)
        told = dog.look(STEP, took(), 142.0)
        assert dog.look(STEP, took(), 143.0)
    assert "for 42 s" in told and "requests 7 (512 tokens), 9 (1 token)" in told
    assert [event["log_level"] for event in events] == [LogLevel.critical]
    assert "7 (512 tokens)" in events[0]["sentence"]


def test_it_is_well_again_when_the_step_ends_and_may_be_stuck_again():
    dog = Watchdog()
    dog.look(STEP, took(), 200.0)
    with capturedLogs() as events:
        assert dog.look(None, took(100.0), 201.0) is None
        assert dog.look(None, took(100.0), 202.0) is None
        again = Heartbeat(202.0, STEP.parts)  # as the last one, but another
        assert dog.look(again, took(100.0), 300.0) is None, "steps have been seen to take so long"
        assert dog.look(again, took(100.0), 202.0 + 50 * 100.0) is not None
    assert [event["log_level"] for event in events] == [LogLevel.info, LogLevel.critical]


def test_a_new_step_after_a_stuck_one_that_nobody_saw_end():
    dog = Watchdog()
    dog.look(STEP, took(), 200.0)
    assert dog.look(Heartbeat(200.5, STEP.parts), took(), 201.0) is None


def test_work_between_two_steps_may_be_stuck_as_well():
    assert "between two steps" in Watchdog().look(Heartbeat(0.0, ()), took(), 31.0)
