"""The event log: append, read, torn lines, resumes that make events void."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peluche.errors import CheckpointError
from peluche.hub.event_log import EventLog

EVENTS = [
    {"event": "start"},
    {"event": "step", "step": 1, "loss": 2.5},
    {"event": "sample", "step": 2, "text": "Un ours en peluche mignon lit. \n\u2028"},
]


def without_time(log: EventLog) -> list[dict[str, object]]:
    return [{key: value for key, value in event.items() if key != "time"} for event in log.read()]


def test_events_come_back_in_order_with_their_time(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    assert list(log.read()) == []
    before = time.time()
    for event in EVENTS:
        log.append(event)
    assert without_time(log) == EVENTS
    times = [event["time"] for event in log.read()]
    assert before <= times[0] <= times[1] <= times[2] <= time.time()


@given(lost=st.integers(0, 400))
def test_a_log_torn_anywhere_is_read_and_mended(
    tmp_path_factory: pytest.TempPathFactory, lost: int
) -> None:
    log = EventLog(tmp_path_factory.mktemp("torn") / "log.jsonl")
    for event in EVENTS:
        log.append(event)
    whole = log.path.read_bytes()
    torn = whole[: max(0, len(whole) - lost)]
    log.path.write_bytes(torn)
    survivors = without_time(log)
    assert survivors == EVENTS[: len(survivors)]
    assert torn.count(b"\n") <= len(survivors) <= torn.count(b"\n") + 1
    log.append({"event": "stop"})
    assert without_time(log) == [*survivors, {"event": "stop"}]
    for line in log.path.read_text(encoding="utf-8").split("\n")[:-1]:
        json.loads(line)


def test_a_tail_of_zero_bytes_is_a_torn_line(tmp_path: Path) -> None:
    """As some file systems leave after a power cut."""
    log = EventLog(tmp_path / "log.jsonl")
    log.append(EVENTS[0])
    with log.path.open("ab") as stream:
        stream.write(b"\0" * 100)
    assert without_time(log) == EVENTS[:1]
    log.append(EVENTS[1])
    assert without_time(log) == EVENTS[:2]


@pytest.mark.parametrize("line", [b"{garbage}\n", b"\xff\xfe\n", b"[1, 2]\n"])
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, line: bytes) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    log.append(EVENTS[0])
    with log.path.open("ab") as stream:
        stream.write(line)
    log.append(EVENTS[1])
    with pytest.raises(CheckpointError, match=r"log\.jsonl:2"):
        list(log.read())


def test_a_resume_voids_what_came_after_its_step(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    log.append({"event": "start"})
    for step in (1, 2, 3):
        log.append({"event": "step", "step": step, "course": "first"})
    log.append({"event": "resume", "step": 1})
    log.append({"event": "step", "step": 2, "course": "second"})
    log.append({"event": "resume", "step": 2})
    log.append({"event": "step", "step": 3, "course": "third"})
    assert without_time(log) == [
        {"event": "start"},
        {"event": "step", "step": 1, "course": "first"},
        {"event": "resume", "step": 1},
        {"event": "step", "step": 2, "course": "second"},
        {"event": "resume", "step": 2},
        {"event": "step", "step": 3, "course": "third"},
    ]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    log = EventLog(tmp_path / "log.jsonl")
    log.path.symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="cannot write to the log: No space left"):
        log.append(EVENTS[0])
