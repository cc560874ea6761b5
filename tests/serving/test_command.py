"""`kbert serve` as a process, and its page in a browser."""

import contextlib
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote
from urllib.parse import urlencode

import httpx
import pytest

from kbert.serving import app


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def serving(*arguments):
    """`kbert serve` on free ports: its process and address."""
    port = free_port()
    # What tests set themselves would let TensorFlow's messages through.
    environment = dict(os.environ)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "kbert", "serve", *arguments),
            *("--rest-port", str(port), "--grpc-port", "0"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 120
        # One client: each would read the certificates of this machine.
        with httpx.Client(trust_env=False) as client:
            while True:
                assert process.poll() is None and time.monotonic() < end
                with contextlib.suppress(httpx.ConnectError):
                    if client.get(f"{url}/readyz").status_code == 200:
                        break
                time.sleep(0.2)
        yield process, url
    finally:
        process.kill()
        process.communicate()


def test_a_process_from_start_to_sigterm(text_model):
    with serving(text_model, "--name", "other") as (process, url):
        body = '{"instances": ["a secret text"]}'
        answer = httpx.post(f"{url}/v1/models/other:predict", content=body)
        assert answer.status_code == 200
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert not output
    lines = [x for x in errors.splitlines() if x.startswith("{")]
    events = [json.loads(line) for line in lines]
    assert [e["event"] for e in events if e["event"] != "request"] == [
        *("available", "draining", "unloading", "unloaded", "ended")
    ]
    asked = [e for e in events if e.get("method") == "POST"]
    assert [(e["model"], e["status"]) for e in asked] == [("other", 200)]
    assert "secret" not in errors
    others = [x for x in errors.splitlines() if not x.startswith("{")]
    assert others[0] == f"{url}/v1/models/other:predict"
    assert "development" in others[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither"),
        (["{model}", "--model-config-file", "x"], "both"),
        (["{model}/1"], "That is a version itself"),
        (["{model}/no"], "cannot be listed"),
        (["--model-config-file", "{model}/no"], "model config file"),
        (["{model}", "--check-ops", "1.0"], "Unknown TF Serving release"),
    ],
)
def test_arguments_that_are_wrong(text_model, arguments, message):
    from typer.testing import CliRunner

    from kbert import cli

    arguments = [a.format(model=text_model) for a in arguments]
    result = CliRunner().invoke(cli.app, ["serve", *arguments])
    assert result.exit_code == 1
    assert message in result.stderr


def browse(url, **given):
    """What the page is once it has asked, as HTML."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium, which Debian's package brings")
    done = subprocess.run(
        [
            *(chromium, "--headless=new", "--no-sandbox"),
            *("--disable-gpu", "--virtual-time-budget=30000"),
            # Nothing but this machine is there.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *("--dump-dom", f"{url}/#{urlencode(given, quote_via=quote)}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout


@pytest.mark.large
@pytest.mark.parametrize(
    ("text", "lang", "says"),
    [
        ("zz yyy, aaa <b>bb</b>", "en", "Words that pushed it"),
        ("北京 zz 天气", "zh", "影响结果的词"),
    ],
)
def test_the_page_in_a_browser(text_model, text, lang, says):
    with serving(text_model) as (_, url):
        page = browse(url, text=text, lang=lang)
    assert '<output id="label">' in page
    label = page.split('<output id="label">')[1].split("<")[0]
    assert label in ("ham", "spam")
    assert page.count('class="fill"') == 2
    # The words stand in the order of the text, and nothing of it is markup.
    words = page.split('<div id="text">')[1].split("</div>")[0]
    assert words.count("<span") >= 3 and "<b>" not in words
    assert re.sub("<[^>]*>", "", words) == html.escape(text)
    assert "AVAILABLE" in page and says in page


@pytest.mark.large
def test_the_page_of_other_heads(tmp_path):
    import kbert

    heads = {"ner": ["PER", "LOC"], "news": ["sport", "tech"]}
    for head, labels in heads.items():
        clf = kbert.Classifier("random:1x64", head, labels=labels, seed=0)
        clf.export(tmp_path / head)
    models = tmp_path / "models.config"
    models.write_text(
        "model_config_list {"
        + "".join(
            f'config {{ name: "{head}" base_path: "{tmp_path / head}" '
            f'model_platform: "tensorflow" }}'
            for head in heads
        )
        + "}"
    )
    with serving("--model-config-file", models) as (_, url):
        text = "Bob, 北京 <i>"
        body = {"instances": [text]}
        answer = httpx.post(f"{url}/v1/models/ner:predict", json=body).json()
        tagged = browse(url, model="ner", text=text)
        news = browse(url, model="news", title="Rome aaa", body="zz bb")
    (answer,) = answer["predictions"]
    marks = re.findall("<mark[^>]*>(.*?)<small>(.*?)</small></mark>", tagged)
    found = zip(answer["text"], answer["type"], strict=True)
    assert marks == [(html.escape(text), kind) for text, kind in found]
    assert marks
    assert "what was found" in tagged
    words = tagged.split('<div id="text">')[1].split("</div>")[0]
    assert "Bob" in re.findall("<span[^>]*>(.*?)</span>", words)
    # Texts in the order of the head's inputs, which explanations number.
    assert re.findall('textarea name="(.*?)"', news) == ["title", "body"]
    words = news.split('<div id="text">')[1].split("</div>")[0]
    words = words.replace("</p>", "\n")
    assert re.sub("<[^>]*>", "", words) == "Rome aaa\nzz bb\n"
    assert re.findall("<span[^>]*>(.*?)</span>", words) == [
        *("Rome", "aaa", "zz", "bb")
    ]


@pytest.mark.large
def test_the_page_of_several_tasks(tmp_path):
    import kbert
    from kbert.heads.classification import ClassificationHead
    from kbert.heads.ner import EntityHead

    multi = kbert.MultiTask(
        "random:1x64",
        {
            "topic": ClassificationHead(labels=["a", "b"]),
            "names": EntityHead(labels=["PER", "LOC"]),
        },
        seed=0,
    )
    for task in multi.tasks.values():
        task.build()
    multi.export(tmp_path / "model", default="names")
    with serving(tmp_path / "model") as (_, url):
        first = browse(url, text="Bob zz")
        other = browse(url, task="topic", text="Bob zz")
    assert re.findall("<option>(.*?)</option>", first)[:3] == [
        *("model", "names", "topic")
    ]
    assert "<small>" in first and 'class="fill"' not in first
    assert other.count('class="fill"') == 2 and "<small>" not in other


def test_the_page_says_everything_in_both_languages():
    page = Path(app.__file__).parent / "page"
    script = (page / "language.js").read_text(encoding="utf-8")
    english, chinese = script.split("  zh: {")
    said = [
        set(re.findall(r"^    (\w+):", part, re.MULTILINE))
        for part in (english, chinese)
    ]
    assert said[0] == said[1]
    wanted = set()
    for path in page.iterdir():
        text = path.read_text(encoding="utf-8")
        wanted |= set(re.findall(r'(?:data-say=|say\()"(\w+)"', text))
        if path.name == "card.js":
            wanted |= set(re.findall(r'^ +\["(\w+)",', text, re.MULTILINE))
    assert wanted - {"accuracy", "macroF1"} <= said[0]
    assert said[0] - wanted <= {"accuracy", "macroF1", "tokens", "windows"}
