#!/usr/bin/env bash
# The contract tests against the real TF Serving, for a CI with containers.
#
#   deploy/contract.sh                 the release that deploy/Dockerfile names
#   deploy/contract.sh 2.18.0 2.20.0   these releases, one after the other
#
# NOT run where kbert is developed, which has no container engine: tests run
# this script with a stand-in for docker that starts `kbert serve`, and that is
# all that is known of it. It needs docker, and kbert with its test extra in
# $PYTHON.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python}
MODEL=kbert
TESTS=tests/serving/test_contract.py
SECONDS_TO_START=${SECONDS_TO_START:-120}

if [ $# -eq 0 ]; then
  set -- "$(sed -n 's/^ARG TF_SERVING_RELEASE=//p' deploy/Dockerfile)"
fi

folder=$(mktemp -d)
container=
cleanup() {
  if [ -n "$container" ]; then
    docker rm --force "$container" >/dev/null || true
  fi
  rm -rf "$folder"
}
trap cleanup EXIT

"$PYTHON" deploy/export_contract_model.py "$folder/$MODEL"
chmod -R a+rX "$folder"

# The address that a port of the container has here, such as 127.0.0.1:49153.
address() {
  docker port "$container" "$1/tcp" | head -n 1
}

available() {
  "$PYTHON" - "$1" <<'PY'
import json, sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
        versions = json.load(answer)["model_version_status"]
except (OSError, ValueError, KeyError):
    sys.exit(1)
sys.exit(not any(v["state"] == "AVAILABLE" for v in versions))
PY
}

for release in "$@"; do
  echo "=== tensorflow/serving:$release"
  # Batching stays off: the tests ask one thing at a time.
  container=$(docker run --detach \
    --publish 127.0.0.1::8500 --publish 127.0.0.1::8501 \
    --volume "$folder/$MODEL:/models/$MODEL:ro" \
    --volume "$PWD/deploy/config:/config:ro" \
    "tensorflow/serving:$release" \
    --model_config_file=/config/models.config \
    --monitoring_config_file=/config/monitoring.config)
  rest="http://$(address 8501)"
  deadline=$((SECONDS + SECONDS_TO_START))
  until available "$rest/v1/models/$MODEL"; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      docker logs "$container" >&2
      echo "tensorflow/serving:$release has not loaded the model." >&2
      exit 1
    fi
    sleep 1
  done
  if ! KBERT_SERVING_REST="$rest" KBERT_SERVING_GRPC="$(address 8500)" \
    KBERT_SERVING_MODEL="$MODEL" "$PYTHON" -m pytest "$TESTS"; then
    docker logs "$container" >&2
    exit 1
  fi
  docker rm --force "$container" >/dev/null
  container=
done
