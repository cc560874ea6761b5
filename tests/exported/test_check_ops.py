import json
import os
from pathlib import Path

import pytest

from kbert.errors import ExportError
from kbert.errors import UnknownNameError
from kbert.exported import check_ops

TRIM = "TFText>RoundRobinTrim"


def export(folder, function):
    """Saves `function`, which takes texts, as the only signature."""
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(
        function, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    return str(folder)


@pytest.fixture(scope="module")
def old_ops(tmp_path_factory):
    """A model of core ops, a control flow and a text op of 2.12.1."""
    import tensorflow as tf
    import tensorflow_text as tf_text

    vocabulary = ["[UNK]", "a", "b"]
    tokenizer = tf_text.FastWordpieceTokenizer(
        vocabulary, token_out_type=tf.int32, no_pretokenization=True
    )

    def serve(text):
        words = tf.strings.split(tf.strings.lower(text, encoding="utf-8"))
        ids = tokenizer.tokenize(words).merge_dims(1, -1).to_tensor()
        if tf.size(ids) > 100:
            ids = ids[:, :100]
        return {"ids": ids}

    return export(tmp_path_factory.mktemp("old"), serve)


@pytest.fixture(scope="module")
def new_ops(tmp_path_factory):
    """A model with an op that tensorflow-text 2.12.1 does not have."""
    import tensorflow as tf
    import tensorflow_text as tf_text

    trimmer = tf_text.RoundRobinTrimmer(max_seq_length=4)

    def serve(text):
        first, second = trimmer.trim([tf.strings.split(text)] * 2)
        return {"a": first.to_tensor(), "b": second.to_tensor()}

    return export(tmp_path_factory.mktemp("new"), serve)


@pytest.mark.parametrize("release", check_ops.RELEASES)
def test_old_ops_load_everywhere(old_ops, release):
    assert check_ops.missing_ops(old_ops, release) == {}
    check_ops.check_ops(old_ops, release)


def test_a_text_op_inside_a_function_is_seen(old_ops, monkeypatch):
    op = "FastWordpieceTokenizeWithOffsets"
    fewer = check_ops.release_ops("2.12.1") - {op}
    monkeypatch.setattr(check_ops, "release_ops", lambda release: fewer)
    assert list(check_ops.missing_ops(old_ops)) == [op]


def test_new_op_is_refused(new_ops):
    ((op, functions),) = check_ops.missing_ops(new_ops, "2.12.1").items()
    assert op == TRIM
    with pytest.raises(ExportError) as error:
        check_ops.check_ops(new_ops)
    message = str(error.value)
    assert repr(TRIM) in message
    assert functions[0] in message
    assert "(in TF Serving: 2.20.0)" in message
    assert message.endswith("or serve with TF Serving 2.20.0.")


def test_new_op_is_accepted_where_it_is_known(new_ops):
    assert TRIM not in check_ops.release_ops("2.19.1")
    check_ops.check_ops(new_ops, "2.20.0")


def write_graph(folder, nodes):
    """A SavedModel of bare nodes: function `f` and a main graph."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved_model = SavedModel()
    graph = saved_model.meta_graphs.add().graph_def
    function = graph.library.function.add()
    function.signature.name = "f"
    function.node_def.add(name="inner", op="NotInAny")
    for op in nodes:
        graph.node.add(name=op, op=op)
    Path(folder, "saved_model.pb").write_bytes(saved_model.SerializeToString())


def test_main_graph_and_calls_by_name(tmp_path):
    write_graph(tmp_path, ["NoOp", "f", "NotInAny"])
    assert check_ops.missing_ops(tmp_path) == {"NotInAny": ["f", "main graph"]}
    with pytest.raises(ExportError, match="none known") as error:
        check_ops.check_ops(tmp_path)
    assert str(error.value).endswith("replace these ops with older ones.")


def test_unknown_release(old_ops):
    with pytest.raises(UnknownNameError, match=r"mean '2\.12\.1'"):
        check_ops.check_ops(old_ops, "2.12.1-gpu")
    with pytest.raises(UnknownNameError, match=r"Known: 2\.12\.1, .*2\.20\.0"):
        check_ops.missing_ops(old_ops, "latest")


def test_not_a_saved_model(tmp_path):
    with pytest.raises(ExportError, match="version folder"):
        check_ops.check_ops(tmp_path)
    os.mkfifo(tmp_path / "saved_model.pb")  # Which nobody writes to.
    with pytest.raises(ExportError, match="no plain file"):
        check_ops.check_ops(tmp_path)
    (tmp_path / "saved_model.pb").unlink()
    (tmp_path / "saved_model.pb").write_bytes(b"not a protobuf")
    with pytest.raises(ExportError, match="version folder"):
        check_ops.check_ops(tmp_path)


def test_table_is_consistent():
    path = Path(check_ops.__file__).with_name("serving_ops.json")
    assert path.stat().st_size < 60_000
    before = set()
    for row in json.loads(path.read_text(encoding="utf-8")):
        assert set(row) == {"release", "wheels", "adds", "removes"}
        for key in ("adds", "removes"):
            assert row[key] == sorted(set(row[key]))
        assert before.isdisjoint(row["adds"])
        assert before.issuperset(row["removes"])
        before = check_ops.release_ops(row["release"])
    numbers = [tuple(map(int, r.split("."))) for r in check_ops.RELEASES]
    assert numbers == sorted(set(numbers))
    assert check_ops.RELEASES[0] == "2.12.1"


def test_table_agrees_with_the_installed_tensorflow():
    import tensorflow_text  # noqa: F401
    from tensorflow.python.framework import op_def_registry

    ops = check_ops.release_ops(check_ops.RELEASES[-1])
    registered = {op for op in ops if op_def_registry.get(op) is not None}
    assert len(registered) > 0.98 * len(ops)
    assert {"StatefulPartitionedCall", "RestoreV2", TRIM} <= registered
