"""Versions that come and go, with a pretended SavedModel."""

import asyncio
import contextlib
import errno
import gc
import weakref
from pathlib import Path

import pytest

from kbert.errors import ConfigError
from kbert.errors import ServingError
from kbert.serving import config
from kbert.serving.config import ModelConfig
from kbert.serving.logs import Log
from kbert.serving.models import Models
from kbert.serving.status import error

FAKES = weakref.WeakSet()


class Fake:
    """A SavedModel whose file says whether it can be loaded."""

    def __init__(self, version):
        self.closed = False
        self.itself = self  # As a graph, which only a collection frees.
        FAKES.add(self)
        if (version.path / "saved_model.pb").read_text() == "bad":
            raise error("NOT_FOUND", "bad graph")
        if (version.path / "saved_model.pb").read_text() == "odd":
            raise RuntimeError("odd graph")

    def close(self):
        self.closed = True


def add(base, number, text="good"):
    path = base / str(number)
    path.mkdir(parents=True, exist_ok=True)
    (path / "saved_model.pb").write_text(text)


def states(models, name="m"):
    return {v.number: v.state for v in models.versions(name)}


@pytest.fixture(scope="module", autouse=True)
def quick_collections():
    """As in `kbert serve`, where what imports made is not looked through."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def base(tmp_path):
    add(tmp_path / "m", 1)
    return tmp_path / "m"


def test_the_newest_is_served_and_the_old_one_goes(base):
    async def main():
        models = Models([ModelConfig("m", base)], Fake, Log(None))
        await models.update()
        assert states(models) == {1: "AVAILABLE"}
        old = models.versions("m")[0].servable
        add(base, 2)
        with models.use("m") as used:
            updating = asyncio.create_task(models.update())
            await asyncio.sleep(0.3)
            # The old one is in use: it does not go, but no one finds it.
            assert states(models) == {1: "UNLOADING", 2: "AVAILABLE"}
            assert not old.closed and used.number == 1
            with models.use("m") as newer:
                assert newer.number == 2
        await updating
        assert states(models) == {1: "END", 2: "AVAILABLE"}
        assert old.closed
        await models.close()
        assert states(models) == {1: "END", 2: "END"}

    asyncio.run(main())


@pytest.mark.parametrize("second", ["good", "bad", "odd"])
def test_memory_is_given_back(base, second):
    async def main():
        models = Models([ModelConfig("m", base)], Fake, Log(None))
        await models.update()
        add(base, 2, second)
        await models.update()
        # The old one is gone, or the new one that could not be loaded.
        left = [fake for fake in FAKES]
        assert left == [models._find("m", None, None).servable]
        await models.close()

    FAKES.clear()
    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_whatever_fails_the_polling_goes_on(base):
    async def main():
        models = Models([ModelConfig("m", base)], Fake, Log(None))
        await models.update()
        polling = asyncio.create_task(models.poll(0.01))
        add(base, 2, "odd")
        while states(models).get(2) != "END":
            await asyncio.sleep(0.01)
        failure = models.states("m", 2)[0].failure
        assert failure.code == "INTERNAL" and "odd graph" in str(failure)
        add(base, 3)
        while states(models).get(3) != "AVAILABLE":
            await asyncio.sleep(0.01)
        polling.cancel()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_version_that_fails_leaves_the_old_one(base):
    async def main():
        models = Models([ModelConfig("m", base)], Fake, Log(None))
        await models.update()
        add(base, 2, "bad")
        await models.update()
        assert states(models) == {1: "AVAILABLE", 2: "END"}
        failure = models.versions("m")[0].failure
        assert (failure.code, str(failure)) == ("NOT_FOUND", "bad graph")
        before = models.versions("m")[0]
        await models.update()  # Not tried again at once,
        assert models.versions("m")[0] is before
        add(base, 2, "mended")  # but when it changes.
        await models.update()
        assert states(models) == {1: "END", 2: "AVAILABLE"}

    asyncio.run(main())


def test_a_version_that_is_taken_away_and_comes_back(base):
    async def main():
        models = Models([ModelConfig("m", base)], Fake, Log(None))
        await models.update()
        (base / "1").rename(base.with_name("away"))
        await models.update()
        assert states(models) == {1: "END"}
        assert not models.ready
        base.with_name("away").rename(base / "1")
        await models.update()
        assert states(models) == {1: "AVAILABLE"} and models.ready

    asyncio.run(main())


def no_more_files(*arguments):
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("what", ["away", "a file", "no descriptors"])
def test_a_folder_that_cannot_be_listed_unloads_nothing(
    base, what, monkeypatch
):
    # file_system_storage_path_source.cc: an error ends this poll, no more.
    lines, failures = [], []

    def log(event, **facts):
        lines.append((event, facts))

    async def main():
        models = Models(
            [ModelConfig("n", base.with_name("n")), ModelConfig("m", base)],
            Fake,
            log,
            lambda: failures.append(1),
        )
        add(base.with_name("n"), 1)
        await models.update()
        lines.clear()
        with monkeypatch.context() as patch:
            if what == "no descriptors":
                patch.setattr(Path, "iterdir", no_more_files)
            else:
                base.rename(base.with_name("away"))
            if what == "a file":
                base.write_text("")
            for _ in range(3):
                await models.update()
        broken = 2 if what == "no descriptors" else 1
        assert len(failures) == 3 * broken
        assert [event for event, _ in lines] == ["look failed"] * broken
        assert models.trouble("m") and models.ready
        with models.use("m") as version:
            assert version.number == 1
        if what == "a file":
            base.unlink()
        if what != "no descriptors":
            base.with_name("away").rename(base)
        # What has come meanwhile is found.
        add(base, 2)
        await models.update()
        assert ("look succeeded", {"model": "m"}) in lines
        assert states(models) == {1: "END", 2: "AVAILABLE"}
        assert models.trouble("m") is None

    asyncio.run(main())


def test_what_the_machine_could_not_load_is_tried_again(base, monkeypatch):
    tries = []

    def load(version):
        tries.append(version.number)
        if len(tries) < 3:
            no_more_files()
        return Fake(version)

    async def main():
        models = Models([ModelConfig("m", base)], load, Log(None))
        for _ in range(5):
            await models.update()
        assert tries == [1]  # Not at once.
        monkeypatch.setattr("kbert.serving.models.RETRY_PAUSES", (0, 0))
        for _ in range(5):
            await models.update()
        assert tries == [1, 1, 1]
        assert states(models) == {1: "AVAILABLE"}

    asyncio.run(main())


def test_a_bad_version_is_not_tried_for_ever(base, monkeypatch):
    monkeypatch.setattr("kbert.serving.models.RETRY_PAUSES", (0, 0))
    add(base, 2, "bad")
    tries = []

    def load(version):
        tries.append(version.number)
        return Fake(version)

    async def main():
        models = Models([ModelConfig("m", base)], load, Log(None))
        for _ in range(6):
            await models.update()

    asyncio.run(main())
    assert tries == [2, 2, 2]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, {3}),
        ({"latest": 2}, {2, 3}),
        ({"latest": None}, {1, 2, 3}),
        ({"specific": (1, 3, 9)}, {1, 3}),
    ],
)
def test_policies(base, policy, expected):
    add(base, 2)
    add(base, 3)
    # No int64 of 0 or more, in ASCII: skipped.
    for name in ("notes", "-5", "4.0", "٥", str(2**63), "9" * 200):
        (base / name).mkdir()
    (base / "4").write_text("no folder")
    assert set(ModelConfig("m", base, **policy).versions()) == expected


def test_labels_and_numbers(base):
    async def main():
        add(base, 2)
        model = ModelConfig("m", base, latest=None, labels={"stable": 1})
        models = Models([model], Fake, Log(None))
        await models.update()
        with models.use("m", label="stable") as version:
            assert version.number == 1
        with models.use("m", 2) as version:
            assert version.number == 2
        for arguments, code in (
            (("m", 3), "NOT_FOUND"),
            (("x",), "NOT_FOUND"),
            (("m", None, "no"), "INVALID_ARGUMENT"),
            (("",), "INVALID_ARGUMENT"),
        ):
            with pytest.raises(ServingError) as caught, models.use(*arguments):
                pass
            assert caught.value.code == code

    asyncio.run(main())


def test_reload_of_the_configuration(base, tmp_path):
    async def main():
        models = Models([ModelConfig("m", base)], Fake, Log(None))
        await models.update()
        add(tmp_path / "n", 1)
        both = [ModelConfig("m", base), ModelConfig("n", tmp_path / "n")]
        await models.reload(both)
        assert states(models, "n") == {1: "AVAILABLE"}
        labelled = ModelConfig("m", base, labels={"stable": 7})
        with pytest.raises(ServingError) as caught:
            await models.reload([labelled, both[1]])
        assert caught.value.code == "FAILED_PRECONDITION"
        await models.reload([both[1]])
        assert states(models) == {1: "END"}
        with pytest.raises(ServingError, match="did not become available"):
            await models.reload([ModelConfig("o", tmp_path / "o")])

    asyncio.run(main())


# === Configuration ===

FILE = """
model_config_list {
  config {
    name: "spam"
    base_path: "/models/spam"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
  }
  config {
    name: "news" base_path: "/models/news" model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
  }
  config {
    name: "all" base_path: "/models/all" model_platform: "tensorflow"
    model_version_policy { all {} }
  }
}
"""


def test_model_config_file(tmp_path):
    path = tmp_path / "models.config"
    path.write_text(FILE)
    spam, news, everything = config.from_file(path)
    assert (spam.name, str(spam.base_path)) == ("spam", "/models/spam")
    assert (spam.specific, spam.labels) == ((1, 2), {"stable": 1})
    assert (news.latest, everything.latest) == (2, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"tensorflow"', '"other"', "model_platform"),
        ('"/models/news"', '"news"', "absolute"),
        ('"news"', '"spam"', "must differ"),
        ('name: "all"', "", "needs a name"),
        ("model_config_list", "custom_model_config", "Expected a model config"),
        ("config {", "confg {", "Expected a model config file"),
    ],
)
def test_model_config_file_that_is_wrong(tmp_path, old, new, message):
    path = tmp_path / "models.config"
    path.write_text(FILE.replace(old, new, 1 if "config" in old else -1))
    with pytest.raises(ConfigError, match=message):
        config.from_file(path)


def test_files_and_folders_that_are_wrong(tmp_path, base):
    with pytest.raises(ConfigError, match="No such file"):
        config.from_file(tmp_path / "no")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="model config file"):
        config.from_file(tmp_path / "binary")
    with contextlib.suppress(OSError):
        (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="without one"):
        config.from_folder(tmp_path / "empty")
    with pytest.raises(ConfigError, match="That is a version itself"):
        config.from_folder(base / "1")
    assert config.from_folder(base, "other").name == "other"
