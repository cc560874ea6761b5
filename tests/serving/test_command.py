"""`kbert serve` as a process."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest


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
    # An explanation is made ready beside it, in time or not.
    beside = ("request", "explanations ready")
    assert [e["event"] for e in events if e["event"] not in beside] == [
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
