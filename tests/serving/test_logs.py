"""Log lines, and that no request fails or waits by them."""

import contextlib
import io
import json
import logging
import os
import threading
import warnings

import pytest

from kbert.serving.logs import MAX_WAITING
from kbert.serving.logs import Log
from kbert.serving.logs import forwarded


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_json_object():
    stream = io.StringIO()
    log = Log(stream)
    log("request", path="/v1/модель\n", status=200)
    log("odd", half="\ud83d", thing=object())
    log.flush()
    first, second = lines(stream)
    assert (first["event"], first["path"]) == ("request", "/v1/модель\n")
    assert second["thing"].startswith("<object")
    assert log.dropped == 0


def test_a_line_is_one_and_commands_no_terminal():
    stream = io.StringIO()
    log = Log(stream)
    odd = "\x1b[31m \x7f \x85 \x9b31m \u2028 \u202e \u2066"
    log("look failed", error=odd)
    log.flush()
    (line,) = lines(stream)
    assert line["error"] == odd
    assert stream.getvalue().removesuffix("\n").isprintable()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_drops_lines_and_raises_nothing():
    full = open("/dev/full", "w")
    log = Log(full)
    for i in range(17):
        log("request", i=i)
    log.flush()
    assert log.dropped == 17
    with contextlib.suppress(OSError):
        full.close()


def test_it_goes_on_when_there_is_room_again():
    class Disk(io.StringIO):
        full = True

        def write(self, text):
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    disk = Disk()
    log = Log(disk)
    log("lost")
    log.flush()
    disk.full = False
    log("kept")
    log.flush()
    assert [line["event"] for line in lines(disk)] == ["kept"]
    assert log.dropped == 1


def test_a_pipe_that_nobody_reads_holds_nobody_up():
    stuck = threading.Event()

    class Pipe(io.StringIO):
        def write(self, text):
            stuck.wait()

    log = Log(Pipe())
    for i in range(MAX_WAITING + 50):
        log("request", i=i)
    assert 49 <= log.dropped <= 50
    log.flush(0.01)
    stuck.set()


def test_lines_of_other_libraries_are_json_too():
    stream = io.StringIO()
    log = Log(stream)
    with forwarded(log):
        logging.getLogger("uvicorn.error").warning("Invalid %s", "request")
        try:
            raise ValueError("inside")
        except ValueError:
            logging.getLogger("asyncio").exception("lost")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", stacklevel=1)
    logging.getLogger("uvicorn.error").debug("not any more")
    first, second, third = lines(stream)
    assert first["logger"] == "uvicorn.error"
    assert (first["level"], first["message"]) == ("warning", "Invalid request")
    assert second["error"] == "ValueError('inside')"
    assert third["logger"] == "py.warnings" and "old" in third["message"]
