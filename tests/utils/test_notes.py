"""Remarks on standard error, which end no work."""

import io
import sys

from kbert.utils.notes import notes


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        self.write("")


def test_what_cannot_be_written_is_lost(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Full())
    console = notes()
    console.print("lost")
    with console.status("working"):
        pass
    kept = io.StringIO()
    monkeypatch.setattr(sys, "stderr", kept)
    console.print("kept")
    notes(quiet=True).print("quiet")
    assert kept.getvalue() == "kept\n"
