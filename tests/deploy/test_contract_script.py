"""deploy/contract.sh, with stand-ins for docker and Python.

No container engine is here: this shows what the script asks for, not that TF
Serving answers.
"""

import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "contract.sh"

DOCKER = """#!/usr/bin/env bash
echo "$*" >> "$LOG/docker"
case $1 in
  run) echo container-1 ;;
  port) [ "$3" = 8501/tcp ] && echo "$REST" || echo 127.0.0.1:8500 ;;
  logs) echo "what TF Serving said" ;;
esac
"""

# Starts the development server in place of TF Serving.
DEVELOPMENT_DOCKER = """#!/usr/bin/env bash
case $1 in
  run)
    for word in "$@"; do
      case $word in *:/models/kbert:ro) folder=${word%%:*} ;; esac
    done
    "$REAL" -m kbert serve "$folder" --name kbert --rest-port "$REST_PORT" \
      --grpc-port "$GRPC_PORT" --allow-reload >"$LOG/server" 2>&1 &
    echo $! ;;
  port)
    [ "$3" = 8501/tcp ] && echo "127.0.0.1:$REST_PORT" \
      || echo "127.0.0.1:$GRPC_PORT" ;;
  logs) cat "$LOG/server" ;;
  rm) kill -KILL "$3" ;;
esac
"""

# Exports a folder with nothing in it; tests end as the test says they do.
PYTHON = """#!/usr/bin/env bash
case $1 in
  deploy/export_contract_model.py) mkdir -p "$2/1" && echo "$2" ;;
  -m) echo "$* $KBERT_SERVING_REST $KBERT_SERVING_GRPC $KBERT_SERVING_MODEL" \
    >> "$LOG/tests"; exit "$RESULT" ;;
  *) exec "$REAL" "$@" ;;
esac
"""


@pytest.fixture
def contract(tmp_path, server):
    def run(*releases, result=0, seconds=20):
        log, tmp, folder = tmp_path, tmp_path / "tmp", tmp_path / "bin"
        for path in (tmp, folder):
            path.mkdir(exist_ok=True)
        for name, text in (("docker", DOCKER), ("python", PYTHON)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        host, port = server[0].server_address
        done = subprocess.run(
            [SCRIPT, *releases],
            env=os.environ
            | {
                "PATH": f"{folder}:{os.environ['PATH']}",
                "PYTHON": str(folder / "python"),
                "REAL": sys.executable,
                "LOG": str(log),
                "TMPDIR": str(tmp),
                "REST": f"{host}:{port}",
                "RESULT": str(result),
                "SECONDS_TO_START": str(seconds),
            },
            capture_output=True,
            text=True,
        )
        assert list(tmp.iterdir()) == [], "the export is left behind"
        calls = (log / "docker").read_text().splitlines()
        assert calls[-1] == "rm --force container-1"
        tests = log / "tests"
        return done, calls, tests.read_text() if tests.exists() else ""

    return run


def test_asks_the_release_of_the_dockerfile(contract, server):
    done, calls, tests = contract()
    assert done.returncode == 0, done.stderr
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    release = re.search("TF_SERVING_RELEASE=(.+)", dockerfile)[1]
    assert f" tensorflow/serving:{release} --model_config_file=" in calls[0]
    assert "/kbert:/models/kbert:ro" in calls[0]
    host, port = server[0].server_address
    assert tests == (
        "-m pytest tests/serving/test_contract.py "
        f"http://{host}:{port} 127.0.0.1:8500 kbert\n"
    )
    # It waited until the version was available.
    assert server[1].asked == ["/v1/models/kbert"] * 2


def test_several_releases(contract):
    done, calls, tests = contract("2.18.0", "2.20.0")
    assert done.returncode == 0, done.stderr
    started = [call for call in calls if call.startswith("run")]
    assert "tensorflow/serving:2.18.0 " in started[0]
    assert "tensorflow/serving:2.20.0 " in started[1]
    assert calls.count("rm --force container-1") == len(started) == 2
    assert len(tests.splitlines()) == 2


def test_failed_tests_fail_it(contract):
    done, calls, _ = contract("2.18.0", "2.20.0", result=1)
    assert done.returncode == 1
    assert "what TF Serving said" in done.stderr
    assert len([call for call in calls if call.startswith("run")]) == 1


def test_a_model_that_does_not_load_fails_it(contract, server):
    server[1].states = ["START"]
    done, _, tests = contract(seconds=1)
    assert done.returncode == 1
    assert "has not loaded the model" in done.stderr
    assert "what TF Serving said" in done.stderr
    assert tests == ""


@pytest.fixture(scope="module")
def exporter():
    """deploy/export_contract_model.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "export_contract_model", ROOT / "deploy" / "export_contract_model.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_model_is_the_same_each_time(exporter):
    one, other = exporter.make(), exporter.make()
    assert one.labels == other.labels == ["ham", "spam"]
    weights = zip(one.model.weights, other.model.weights, strict=True)
    for mine, its in weights:
        np.testing.assert_array_equal(mine.numpy(), its.numpy())


@pytest.mark.large
def test_the_model_is_exported(exporter, tmp_path):
    import tensorflow as tf

    path = exporter.export(tmp_path / "kbert")
    assert path == tmp_path / "kbert" / "1"
    texts = ["", "Win a prize", "中文 😀"]
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    answer = serve(text=tf.constant(texts))
    np.testing.assert_allclose(
        answer["probabilities"],
        exporter.make().predict_proba(texts),
        atol=1e-6,
    )


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.large
def test_the_development_server_in_place_of_tf_serving(tmp_path):
    tests = ROOT / "tests" / "serving" / "test_contract.py"
    if not tests.exists():
        pytest.skip(f"no {tests}")
    docker = tmp_path / "docker"
    docker.write_text(DEVELOPMENT_DOCKER)
    docker.chmod(0o755)
    done = subprocess.run(
        [SCRIPT, "2.20.0"],
        env=os.environ
        | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "REAL": sys.executable,
            "LOG": str(tmp_path),
            "REST_PORT": free_port(),
            "GRPC_PORT": free_port(),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 50, done.stdout
