"""Ctrl-C waits where it has to, and is never lost."""

import signal
import threading

import pytest

from interrupting import interrupted
from peluche.interrupts import interruptible, uninterrupted


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_it_waits_for_the_end():
    done = []

    def work() -> None:
        with uninterrupted():
            press()
            done.append(1)
            with uninterrupted():
                press()
            done.append(2)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1, 2]
    with pytest.raises(KeyboardInterrupt):
        press()


@pytest.mark.parametrize("already", [False, True])
def test_it_ends_what_may_be_interrupted(already):
    done = []

    def work() -> None:
        with uninterrupted():
            if already:
                press()
            try:
                with interruptible():
                    press()
                    done.append("never")
            finally:
                press()
                done.append("after")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["after"]


def test_another_handler_is_told():
    told = []
    before = signal.signal(signal.SIGINT, lambda number, frame: told.append(number))
    try:
        with uninterrupted():
            press()
            assert told == []
            with interruptible():
                assert told == [signal.SIGINT]
        assert told == [signal.SIGINT]
        with interruptible():
            press()
        assert told == [signal.SIGINT] * 2
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with uninterrupted(), interruptible():
            press()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_change_no_handler():
    found = []

    def work() -> None:
        with uninterrupted(), interruptible():
            found.append(signal.getsignal(signal.SIGINT))

    with uninterrupted():
        ours = signal.getsignal(signal.SIGINT)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == [ours]


def test_the_handler_is_restored_wherever_it_came():
    handler, line, there = signal.getsignal(signal.SIGINT), 0, True

    def work() -> None:
        with uninterrupted():
            steps.append("one")
            steps.append("two")
            with interruptible():
                steps.append("some")
            steps.append("three")
            steps.append("four")

    while there:
        line, steps = line + 1, list[str]()
        try:
            there = interrupted(line, work, "interrupts")
        except KeyboardInterrupt:
            assert steps != ["one"]
            assert steps[-1:] != ["three"]
        else:
            assert not there
        assert signal.getsignal(signal.SIGINT) is handler
    assert line > 20
