"""The page: its data, and what it does in a browser."""

import html
import json
import os
import re
import shutil
import threading
import time
from pathlib import Path
from urllib.parse import quote
from urllib.parse import unquote
from urllib.parse import urlencode

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from kbert.exported.warmup import write_warmup
from kbert.serving import app
from kbert.serving.card import MAX_TASKS
from kbert.serving.card import read_card
from kbert.serving.config import from_folder
from kbert.serving.limits import Limits
from kbert.serving.metrics import Metrics
from kbert.serving.warmup import warm_up

PAGE = Path(app.__file__).parent / "page"

# A word, without the figure beside it.
WORDS = '<span class="word"[^>]*>(.*?)<span class="value">'


def address(url, **given):
    return f"{url}/#{urlencode(given, quote_via=quote)}"


def browse(browser, url, **given):
    """What the page is once it has asked, as HTML."""
    browser.open(address(url, **given))
    return browser.settled()


def texts_of(page, name):
    """An element's text by its id, without the figures beside words."""
    inside = page.split(f'id="{name}"')[1].split(">", 1)[1]
    inside = re.split("</(?:div|output|p|dl|table|pre)>", inside)[0]
    inside = re.sub('<span class="value">.*?</span>', "", inside)
    return html.unescape(re.sub("<[^>]*>", "", inside))


# === What the page is given ===


@pytest.mark.parametrize(
    ("card", "shown"),
    [
        ({"head": 5}, {"head": {"config": {}}}),
        ({"head": {"config": {"labels": 5}}}, {"head": {"config": {}}}),
        (
            {"head": {"config": {"labels": ["a", 1, True], "positive": 1}}},
            {
                "head": {
                    "config": {"labels": ["a", "1", "True"], "positive": "1"}
                }
            },
        ),
        (
            {"head": {"config": {"labels": ["a"], "thresholds": [0.5, 0.5]}}},
            {"head": {"config": {"labels": ["a"]}}},
        ),
        ({"max_length": True, "inputs": ["a", 1]}, {}),
        ({"backbone": [], "max_length": 9}, {"max_length": 9}),
        ({"kbert_version": "\ud800 1"}, {"kbert_version": "\ufffd 1"}),
        ({"head": {"config": {"threshold": float("nan")}}}, {}),
        (
            {"tasks": {"a": None}, "default": "b"},
            {
                "tasks": {"a": {"head": {"config": {}}, "training": {}}},
                "default": "a",
            },
        ),
        ([], None),
    ],
)
def test_odd_cards(tmp_path, card, shown):
    path = tmp_path / "kbert.json"
    path.write_text(json.dumps(card))
    read = read_card(path)
    if shown is None:
        assert read is None
        return
    for task in (read, *read.get("tasks", {}).values()):
        assert task["training"].pop("validation") == {}
    assert (
        read == {"head": {"config": {}}, "training": {}, "backbone": {}} | shown
    )


def test_a_card_that_has_no_end(tmp_path):
    # A pipe and a device say that they have no bytes.
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert read_card(path) is None
    link = tmp_path / "link"
    link.symlink_to("/dev/zero")
    assert read_card(link) is None


def test_a_card_of_very_many_tasks(tmp_path):
    path = tmp_path / "kbert.json"
    path.write_text(json.dumps({"tasks": {str(i): {} for i in range(60_000)}}))
    assert len(read_card(path)["tasks"]) == MAX_TASKS


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@hypothesis.given(st.data())
@hypothesis.settings(
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_any_card_can_be_shown(tmp_path, data):
    keys = ("head", "config", "labels", "tasks", "training", "thresholds")
    card = data.draw(
        st.recursive(JSON, lambda x: st.dictionaries(st.sampled_from(keys), x))
    )
    path = tmp_path / "kbert.json"
    path.write_text(json.dumps(card))
    read = read_card(path)
    assert (read is None) == (not isinstance(card, dict))
    json.dumps(read, allow_nan=False).encode()
    if read is not None:
        assert all(
            isinstance(label, str)
            for label in read["head"]["config"].get("labels", ())
        )


def test_times_of_answers_and_of_explanations():
    metrics = Metrics()
    assert metrics.summary("toy")["predict"] is None
    for api, signature in (
        *[("Predict", "")] * 3,
        ("Predict", "explain"),
        ("Status", ""),
    ):
        with metrics.request(api, "REST") as outcome:
            outcome.model, outcome.signature = "toy", signature
    summary = metrics.summary("toy")
    assert summary["requests"] == 5
    assert 0 <= summary["predict"]["p50"] <= summary["predict"]["p99"]
    assert len(metrics._recent["toy", False]) == 3
    assert len(metrics._recent["toy", True]) == 1


def test_examples_are_the_texts_of_warm_up_requests(copied):
    from kbert.serving.servable import Servable

    requests = [
        {"text": ["warm-up"]},
        {"text": ["word " * 9, "see you", "é", "x" * 2000]},
        {"text": [f"{i}" for i in range(9)]},
    ]
    write_warmup(copied / "1", {"serving_default": requests}, "toy")
    servable = Servable(copied / "1")
    assert warm_up(servable, Metrics(), Limits()) == 3
    assert servable.examples == {
        "serving_default": [
            {"text": text} for text in ("see you", "é", "0", "1", "2")
        ]
    }
    servable.close()


def test_explanations_are_warmed_up_beside_requests(
    run_server, text_model, monkeypatch
):
    from kbert.serving import server as module

    begun, go, done = (threading.Event() for _ in range(3))
    warm_up_explanations = module.warm_up_explanations

    def held(servable):
        begun.set()
        assert go.wait(60)
        assert warm_up_explanations(servable)
        done.set()
        raise RuntimeError("nobody's business")

    monkeypatch.setattr(module, "warm_up_explanations", held)
    server = run_server([from_folder(text_model)])
    assert begun.wait(60)
    # It is ready and answers before.
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    url = f"{server.url}/v1/models/toy:predict"
    assert httpx.post(url, json={"instances": ["a"]}).status_code == 200
    go.set()
    assert done.wait(60)
    metrics = f"{server.url}/monitoring/prometheus/metrics"
    end = time.monotonic() + 60
    while "warm_up_failures 1.0" not in httpx.get(metrics).text:
        assert time.monotonic() < end
    assert httpx.post(url, json={"instances": ["a"]}).status_code == 200


# === The page ===


@pytest.mark.large
@pytest.mark.parametrize(
    ("text", "lang", "says"),
    [
        ("zz yyy, aaa <b>bb</b>", "en", "Words that pushed it"),
        ("\ufeff北京 zz 天气", "zh", "影响结果的词"),
    ],
)
def test_the_page_in_a_browser(browser, server, text, lang, says):
    page = browse(browser, server.url, model="toy", text=text, lang=lang)
    assert texts_of(page, "label") in ("ham", "spam")
    assert page.count('class="fill"') == 2
    # The words stand in the order of the text, and nothing of it is markup.
    assert page.count('class="word"') >= 3
    assert texts_of(page, "text") == text
    assert ("AVAILABLE" if lang == "en" else "可用") in page and says in page


@pytest.mark.large
def test_an_answer_goes_when_its_text_does(browser, server):
    browse(browser, server.url, model="toy", text="zz yyy")
    assert not browser.run("document.querySelector('#answer').hidden")
    # Typing clears it, and asking shows that it is busy until it is answered.
    browser.type(" more")
    assert browser.run("document.querySelector('#answer').hidden")
    browser.run(
        """window.held = []; window.really = window.fetch;
        window.fetch = (path, options) => options?.body ? new Promise(
          (go) => held.push(() => go(really(path, options))))
          : really(path, options); 0"""
    )
    go = "document.querySelector('#go').disabled"
    assert not browser.run(go)
    browser.key("Enter", ctrl=True)
    browser.wait(f"held.length == 1 && {go}")
    assert "Asking" in texts_of(browser.html() + "</p>", "busy")
    browser.key("Enter", ctrl=True)  # Not twice.
    browser.run("held.shift()()")
    browser.wait(f"held.length == 1 && {go}")
    assert not browser.run("document.querySelector('#answer').hidden")
    # An answer to a text that is not there any more is not shown.
    browser.type("!")
    assert not browser.run(go)
    browser.run("held.shift()()")
    browser.settled()
    assert browser.run("document.querySelector('#answer').hidden")
    # The typed text is an example now, and the link leads to what is typed.
    assert "zz yyy more" in browser.run(
        "[...document.querySelectorAll('#examples button')].map(x => x.value)"
    )
    link = browser.run("document.querySelector('#link').href")
    assert unquote(link) == f"{server.url}/#model=toy&text=zz yyy more!"


@pytest.mark.large
def test_words_that_are_not_read(browser, server):
    text = " ".join(["zz"] * 60) + " the end"
    page = browse(browser, server.url, model="toy", text=text)
    unread = page.split("<del>")[1].split("</del>")[0]
    assert unread.endswith("zz the end") and page.count("<del>") == 1
    words = len(unread.split())
    assert f"{words} words (grey)" in texts_of(page, "cut")
    assert texts_of(page, "text") == text
    page = browse(browser, server.url, model="toy", text="zz \x01")
    assert "<del>" not in page
    # Arrows go from word to word, and figures are there to be read.
    browse(browser, server.url, model="toy", text="zz yyy")
    browser.run("document.querySelector('.word').focus()")
    browser.key("ArrowRight")
    here = browser.run("document.activeElement.textContent")
    assert re.fullmatch(r"yyy [+−]?\d\.\d{4} ", here)


@pytest.mark.large
def test_answers_and_cards_of_others(browser, run_server, text_model, tmp_path):
    import tensorflow as tf

    class Odd(tf.Module):
        @tf.function(
            input_signature=[tf.TensorSpec((None,), tf.string, "task")]
        )
        def serve(self, task):
            rows = tf.size(task)
            return {
                "probabilities": tf.fill((rows, 30), 0.03)
                + tf.range(30.0) / 1000,
                "label": tf.fill((rows,), 5.0),
                "type": tf.fill((rows, 1), 7),
            }

    odd = Odd()
    tf.saved_model.save(
        odd,
        str(tmp_path / "odd" / "1"),
        {"serving_default": odd.serve, "explain": odd.serve},
    )
    shutil.copytree(text_model, tmp_path / "toy")
    cards = [{}, {"head": {"config": {"labels": 5}}}, {"tasks": [1]}]
    server = run_server(
        [from_folder(tmp_path / "odd"), from_folder(tmp_path / "toy")]
    )
    page = browse(browser, server.url, model="odd", **{"input.task": "a"})
    assert "Something went wrong" in page  # Of what is no explanation.
    assert page.count('class="fill"') == 10
    browser.click("#more")
    assert browser.html().count('class="fill"') == 20
    assert "10 more" in browser.html()
    assert texts_of(browser.html(), "bars").startswith("29")
    (tmp_path / "odd" / "1" / "assets.extra").mkdir(exist_ok=True)
    for card in cards:
        for name in ("odd", "toy"):
            path = tmp_path / name / "1" / "assets.extra" / "kbert.json"
            path.write_text(json.dumps(card))
        for name, key in (("odd", "input.task"), ("toy", "text")):
            page = browse(browser, server.url, model=name, **{key: "zz"})
            assert texts_of(page, "name").strip() == name
            assert "hidden" not in page.split('id="answer"')[1].split(">")[0]
            state = browser.run("document.querySelector('#state').textContent")
            assert not state


@pytest.mark.large
def test_the_page_of_other_heads(browser, run_server, tmp_path):
    import kbert

    heads = {"ner": ["PER", "LOC"], "news": ["sport", "tech"]}
    for head, labels in heads.items():
        clf = kbert.Classifier("random:1x64", head, labels=labels, seed=0)
        clf.export(tmp_path / head)
    server = run_server([from_folder(tmp_path / head) for head in heads])
    text = "Bob, 北京 <i>"
    answer = httpx.post(
        f"{server.url}/v1/models/ner:predict", json={"instances": [text]}
    ).json()
    tagged = browse(browser, server.url, model="ner", text=text)
    news = browse(
        browser, server.url, model="news", title="Rome aaa", body="zz bb"
    )
    (answer,) = answer["predictions"]
    marks = re.findall("<mark[^>]*>(.*?)<small>(.*?)</small>", tagged)
    found = zip(answer["text"], answer["type"], strict=True)
    assert marks == [(html.escape(text), kind) for text, kind in found]
    assert marks
    assert "what was found" in tagged
    assert "Bob" in re.findall(WORDS, tagged)
    # Texts in the order of the head's inputs, which explanations number.
    assert re.findall('textarea name="(.*?)"', news) == ["title", "body"]
    assert texts_of(news.replace("</p>", "\n"), "text") == "Rome aaa\nzz bb\n"
    assert re.findall(WORDS, news) == ["Rome", "aaa", "zz", "bb"]


@pytest.mark.large
def test_the_page_of_several_tasks(browser, run_server, tmp_path):
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
    server = run_server([from_folder(tmp_path / "model")])
    first = browse(browser, server.url, text="Bob zz")
    other = browse(browser, server.url, task="topic", text="Bob zz")
    assert re.findall("<option>(.*?)</option>", first)[:3] == [
        *("model", "names", "topic")
    ]
    assert "<small>" in first and 'class="fill"' not in first
    assert other.count('class="fill"') == 2 and "<small>" not in other


def test_the_page_says_everything_in_both_languages():
    script = (PAGE / "language.js").read_text(encoding="utf-8")
    english, chinese = script.split("export const say")[0].split("  zh: {")
    said = [
        set(re.findall(r"^    (\w+):", part, re.MULTILINE))
        for part in (english, chinese)
    ]
    assert said[0] == said[1]
    errors = [
        re.findall(r"^      (\d+|other):", part, re.MULTILINE)
        for part in (english, chinese)
    ]
    assert errors[0] == errors[1] and len(errors[0]) > 5
    wanted = set()
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8")
        wanted |= set(
            re.findall(r'(?:data-say=|say\(|showBusy\()"(\w+)"', text)
        )
        if path.name == "card.js":
            wanted |= set(re.findall(r'^ +\["(\w+)",', text, re.MULTILINE))
    by_condition = {
        *("accuracy", "macroF1", "tokens", "windows", "cut", "cutWindows"),
        *("token", "asking", "explaining"),
    }
    assert wanted - by_condition <= said[0]
    assert said[0] - wanted <= by_condition
