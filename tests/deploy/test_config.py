"""deploy/: every file parses, and the files agree with one another."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message_factory
from google.protobuf import text_format
from google.protobuf import wrappers_pb2

from kbert.exported.check_ops import RELEASES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MODEL = "kbert"
STATUS = f"/v1/models/{MODEL}"


def schema():
    """Two messages that tensorflow-serving-api leaves out.

    As TF Serving has them in `servables/tensorflow/
    session_bundle_config.proto` (and reads them in `bundle_factory_util.h`)
    and in `config/monitoring_config.proto`. Numbers do not matter in text.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="kbert_test.proto", package="kbert_test", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)

    def message(name, **fields):
        added = file.message_type.add(name=name)
        for number, (key, kind) in enumerate(fields.items(), start=1):
            one = added.field.add(name=key, number=number)
            one.label = field.LABEL_OPTIONAL
            if isinstance(kind, str):
                one.type, one.type_name = field.TYPE_MESSAGE, kind
            else:
                one.type = kind
        return added

    wrapped = ".google.protobuf.Int64Value"
    batching = message(
        "BatchingParameters",
        max_batch_size=wrapped,
        batch_timeout_micros=wrapped,
        max_enqueued_batches=wrapped,
        num_batch_threads=wrapped,
        thread_pool_name=".google.protobuf.StringValue",
        allowed_batch_sizes=field.TYPE_INT64,
        pad_variable_length_inputs=field.TYPE_BOOL,
        enable_large_batch_splitting=".google.protobuf.BoolValue",
        max_execution_batch_size=wrapped,
    )
    batching.field[5].label = field.LABEL_REPEATED
    message("PrometheusConfig", enable=field.TYPE_BOOL, path=field.TYPE_STRING)
    message(
        "MonitoringConfig", prometheus_config=".kbert_test.PrometheusConfig"
    )
    pool = descriptor_pool.DescriptorPool()
    for known in (wrappers_pb2.DESCRIPTOR, None):
        proto = file
        if known is not None:
            proto = descriptor_pb2.FileDescriptorProto()
            known.CopyToProto(proto)
        pool.Add(proto)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"kbert_test.{name}")
        )
        for name in ("BatchingParameters", "MonitoringConfig")
    }


def model_server_config(text):
    from tensorflow_serving.config.model_server_config_pb2 import (
        ModelServerConfig,
    )

    return text_format.Parse(text, ModelServerConfig())


def read(name):
    return (DEPLOY / name).read_text(encoding="utf-8")


def by_kind(text):
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


@pytest.fixture(scope="module")
def batching():
    text = read("config/batching_parameters.txt")
    return text_format.Parse(text, schema()["BatchingParameters"]())


@pytest.fixture(scope="module")
def objects():
    """What kubernetes.yaml holds, by kind."""
    return {
        one["kind"]: one for one in yaml.safe_load_all(read("kubernetes.yaml"))
    }


@pytest.fixture(scope="module")
def container(objects):
    (only,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return only


@pytest.fixture(scope="module")
def service():
    return yaml.safe_load(read("compose.yaml"))["services"]["kbert"]


def dockerfile():
    """Instructions and their arguments, lines joined."""
    lines = [
        x for x in read("Dockerfile").splitlines() if not x.startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [x.split(maxsplit=1) for x in joined.splitlines() if x]


def command():
    (text,) = (rest for name, rest in dockerfile() if name == "CMD")
    return json.loads(text)


def flags(arguments):
    pairs = [re.fullmatch(r"--(\w+)=(.+)", one).groups() for one in arguments]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


# === Protos in text form ===


def test_model_config():
    (config,) = model_server_config(
        read("config/models.config")
    ).model_config_list.config
    assert (config.name, config.model_platform) == (MODEL, "tensorflow")
    copies = [rest.split() for name, rest in dockerfile() if name == "COPY"]
    assert ["${MODEL}", config.base_path] in copies
    assert ["deploy/config", "/config"] in copies


def test_batching(batching):
    assert not batching.allowed_batch_sizes
    assert not batching.pad_variable_length_inputs  # Texts are not padded.
    assert batching.enable_large_batch_splitting.value
    request = batching.max_batch_size.value
    batch = batching.max_execution_batch_size.value
    queue = batch * batching.max_enqueued_batches.value
    # The queue takes a request whole, or not at all.
    assert 0 < batch <= request <= queue
    # A version loads only if its warm-up requests fit; an export has 8 rows.
    assert 8 <= request
    # Waiting for company must not be what a client notices.
    assert 0 < batching.batch_timeout_micros.value <= 10_000


def test_batching_schema_refuses_what_tf_serving_would():
    message = schema()["BatchingParameters"]
    for text in ("max_batch_size: 64", "max_batchsize { value: 64 }"):
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text, message())


def test_monitoring(objects):
    config = text_format.Parse(
        read("config/monitoring.config"), schema()["MonitoringConfig"]()
    ).prometheus_config
    assert config.enable
    template = objects["Deployment"]["spec"]["template"]
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == config.path
    assert annotations["prometheus.io/scrape"] == "true"
    assert annotations["prometheus.io/port"] == "8501"


def test_configs_in_the_docs_parse():
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```proto\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        assert model_server_config(block).model_config_list.config


# === Dockerfile and compose ===


def test_dockerfile_names_a_release_that_can_be_checked():
    release = re.search(
        r"^ARG TF_SERVING_RELEASE=(.+)$", read("Dockerfile"), re.M
    )
    assert release[1] in RELEASES
    assert ["FROM", "tensorflow/serving:${TF_SERVING_RELEASE}"] in dockerfile()


def test_every_file_that_a_flag_names_is_there(container):
    for arguments in (command(), container["args"]):
        files = {k: v for k, v in flags(arguments).items() if "file" in k}
        assert set(files) == {
            *("model_config_file", "monitoring_config_file"),
            "batching_parameters_file",
        }
        for path in files.values():
            folder, name = path.rsplit("/", 1)
            assert folder == "/config" and (DEPLOY / "config" / name).is_file()


def test_kubernetes_adds_to_the_command_of_the_image(container):
    image, pod = flags(command()), flags(container["args"])
    assert image.items() <= pod.items()
    assert image["enable_batching"] == "true"


def test_compose(service):
    assert service["build"]["dockerfile"] == "deploy/Dockerfile"
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert set(service["build"]["args"]) <= {
        rest.partition("=")[0] for name, rest in dockerfile() if name == "ARG"
    }
    # TF Serving has no passwords: not on every network of a machine.
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    assert f"GET {STATUS} HTTP" in service["healthcheck"]["test"][-1]
    assert "/8501 " in service["healthcheck"]["test"][-1]
    timeout = int(flags(command())["rest_api_timeout_in_ms"])
    assert seconds(service["stop_grace_period"]) * 1000 > timeout


def test_compose_health_check_runs(service, server):
    port = server[0].server_address[1]
    *start, script = service["healthcheck"]["test"]
    assert start == ["CMD", "bash", "-c"]
    script = script.replace("/8501 ", f"/{port} ")
    # The server is loading at first, then available, then gone.
    ends = [subprocess.run(["bash", "-c", script]).returncode for _ in "ab"]
    assert ends == [1, 0]
    server[0].shutdown()
    server[0].server_close()
    assert subprocess.run(["bash", "-c", script], stderr=-3).returncode == 1


# === Kubernetes ===


def test_kinds(objects):
    assert set(objects) == {
        *("Deployment", "Service"),
        *("HorizontalPodAutoscaler", "PodDisruptionBudget"),
    }
    assert {one["metadata"]["name"] for one in objects.values()} == {
        "kbert-serving"
    }


def test_labels_and_ports(objects, container):
    deployment = objects["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert objects["Service"]["spec"]["selector"] == labels
    budget = objects["PodDisruptionBudget"]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for port in objects["Service"]["spec"]["ports"]:
        assert port["port"] == ports[port["targetPort"]]


def test_probes_ask_for_the_status(container):
    ports = {p["name"] for p in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked == {"path": STATUS, "port": "rest"}
        assert asked["port"] in ports
    # A server that is busy leaves the service long before it is restarted.
    ready, live = container["readinessProbe"], container["livenessProbe"]
    patience = [
        p["periodSeconds"] * p["failureThreshold"] for p in (ready, live)
    ]
    assert patience[0] * 3 <= patience[1]


def test_a_pod_ends_after_its_last_request(objects, container):
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    word, wait = container["lifecycle"]["preStop"]["exec"]["command"]
    timeout = int(flags(container["args"])["rest_api_timeout_in_ms"]) / 1000
    assert word == "sleep"
    assert pod["terminationGracePeriodSeconds"] >= int(wait) + timeout


def test_threads_are_the_requested_cpus(batching, container, service):
    cpus = container["resources"]["requests"]["cpu"]
    arguments = flags(container["args"])
    assert arguments["tensorflow_intra_op_parallelism"] == cpus
    assert arguments["tensorflow_inter_op_parallelism"] == cpus
    assert batching.num_batch_threads.value == int(cpus)
    assert service["deploy"]["resources"]["limits"]["cpus"] == cpus
    assert "memory" in container["resources"]["limits"]


def test_autoscaler(objects):
    spec = objects["HorizontalPodAutoscaler"]["spec"]
    target = objects["Deployment"]
    assert spec["scaleTargetRef"] == {
        "apiVersion": target["apiVersion"],
        "kind": target["kind"],
        "name": target["metadata"]["name"],
    }
    assert "replicas" not in target["spec"]  # Each apply would reset them.
    assert 2 <= spec["minReplicas"] < spec["maxReplicas"]
    budget = objects["PodDisruptionBudget"]["spec"]
    assert budget["minAvailable"] < spec["minReplicas"]


def test_kustomization(objects, container):
    page = yaml.safe_load(read("kustomization.yaml"))
    assert page["resources"] == ["kubernetes.yaml"]
    (image,) = page["images"]
    assert image["name"] == container["image"]
    (generated,) = page["configMapGenerator"]
    (volume,) = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
    (mount,) = container["volumeMounts"]
    assert volume["configMap"]["name"] == generated["name"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/config")
    assert {DEPLOY / name for name in generated["files"]} == set(
        (DEPLOY / "config").iterdir()
    )


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not there")
def test_kubectl_builds_it():
    done = subprocess.run(
        ["kubectl", "kustomize", DEPLOY], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    built = by_kind(done.stdout)
    (volume,) = built["Deployment"]["spec"]["template"]["spec"]["volumes"]
    config = built["ConfigMap"]
    # The digest in the name is what replaces the pods.
    assert config["metadata"]["name"].startswith("kbert-serving-config-")
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    for path in (DEPLOY / "config").iterdir():
        assert config["data"][path.name] == path.read_text(encoding="utf-8")


@pytest.mark.large
def test_manifest_fits_the_schemas_of_kubernetes(objects):
    kubernetes = pytest.importorskip("kubernetes_validate")
    for version in ("1.30", kubernetes.latest_version()):
        for one in objects.values():
            kubernetes.validate(one, version, strict=True)
    wrong = objects["Service"] | {"spec": {"port": 8501}}
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(wrong, version, strict=True)
