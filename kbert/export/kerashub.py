"""Export as a preset of KerasHub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras

from kbert.errors import ExportError
from kbert.export.ask import CLOSE
from kbert.export.ask import COARSE
from kbert.export.ask import ask_backbone
from kbert.export.checks import check_finite_weights
from kbert.export.checks import check_plain_tokens
from kbert.heads.transformers_form import TransformersForm
from kbert.models.backbone import Backbone
from kbert.utils.atomic import new_folder

if TYPE_CHECKING:
    from kbert.pipeline.text_model import TextModel
    from kbert.tokenizers.tokenizer import Tokenizer

_TANH = ("gelu_new", "gelu_pytorch_tanh")

# What `BertTextClassifier` computes, too.
_CLASSIFIER = TransformersForm(
    "BertForSequenceClassification", {"logits": "classifier"}
)


def save_task(
    task: TextModel,
    path: str | Path,
    replace: bool = False,
    approximate_gelu: bool = False,
) -> None:
    """Write a preset that `keras_hub` loads.

    A softmax head on the pooler becomes a `BertTextClassifier`, whose classes
    are numbers: their names are not in the preset. Of any other head the
    backbone and the tokenizer are written.

    Args:
        task: a task; it need not have a model.
        path: the folder to make.
        replace: whether an existing folder gives way, if it holds no more
            than the new one.
        approximate_gelu: write a backbone whose GELU is the erf form, though
            keras_hub will compute the tanh form; its features differ by
            about 0.001.

    Raises:
        ExportError: keras_hub's BERT does not compute such a backbone.
        CheckpointError: the folder exists, or cannot be written.
    """
    _check(task.backbone, approximate_gelu)
    check_plain_tokens(task)
    check_finite_weights(task.backbone.weights)
    if task.model is not None:
        check_finite_weights(task.weights())
    with new_folder(path, replace) as folder:
        backbone = _backbone(task.backbone)
        tokenizer = _tokenizer(task.tokenizer)
        saved, outputs = [backbone, tokenizer], None
        form = task.head.transformers_form()
        if task.model is not None and form == _CLASSIFIER:
            saved = [_classifier(task, backbone, tokenizer)]
            logits = task.model.get_layer("logits").output
            outputs = keras.Model(task.model.input, {"logits": logits})
        for thing in saved:
            thing.save_to_preset(str(folder))
        _ask(task.backbone, folder, outputs)


def _ask(
    backbone: Backbone, folder: Path, outputs: keras.Model | None = None
) -> None:
    """Load a preset as its users do, and compare what it computes."""
    import keras_hub

    def answer(batch):
        if outputs is None:
            theirs = keras_hub.models.BertBackbone.from_preset(str(folder))
            features = theirs(batch, training=False)
        else:
            theirs = keras_hub.models.BertTextClassifier.from_preset(
                str(folder)
            )
            features = {"logits": theirs(batch, training=False)}
        return {k: keras.ops.convert_to_numpy(v) for k, v in features.items()}

    # Both forms of GELU are within a hundredth of each other.
    close = CLOSE if backbone.config["activation"] in _TANH else COARSE
    ask_backbone(backbone, "KerasHub preset", answer, close, outputs)


def save_backbone(backbone: Backbone, tokenizer: Tokenizer, folder: Path):
    """Write a backbone and a tokenizer as a preset, into a folder.

    Raises:
        ExportError: keras_hub's BERT does not compute such a backbone, or
            its tokenizer does not cut text so.
    """
    _check(backbone, False)
    check_finite_weights(backbone.weights)
    _backbone(backbone).save_to_preset(str(folder))
    _tokenizer(tokenizer).save_to_preset(str(folder))
    _ask(backbone, folder)


def _tokenizer(tokenizer: Tokenizer):
    import keras_hub

    if tokenizer.added_tokens:
        raise ExportError(
            f"Expected a tokenizer that keras_hub's BertTokenizer is. "
            f"Received: added tokens, {', '.join(tokenizer.added_tokens[:3])}, "
            f"which it finds as words of their own only."
        )
    return keras_hub.models.BertTokenizer(
        vocabulary=list(tokenizer.vocabulary),
        lowercase=tokenizer.lowercase,
        strip_accents=tokenizer.strip_accents,
    )


def _check(backbone: Backbone, approximate_gelu: bool) -> None:
    config = backbone.config
    wrong = None
    if config["activation"] not in _TANH and not (
        approximate_gelu and config["activation"] == "gelu"
    ):
        wrong = (
            f"activation={config['activation']!r}. keras_hub always computes "
            f"the tanh form of GELU; approximate_gelu=True "
            f"(--approximate-gelu) accepts features that differ by about "
            f"0.001 from those of the erf form"
        )
    elif config["layer_norm_epsilon"] != 1e-12:
        wrong = f"layer_norm_epsilon={config['layer_norm_epsilon']}, not 1e-12"
    elif backbone.embeddings.projection is not None:
        wrong = "embeddings with a size of their own"
    if wrong is not None:
        raise ExportError(
            f"Expected a backbone that keras_hub's BertBackbone computes. "
            f"Received: {wrong}."
        )


def _backbone(backbone: Backbone):
    import keras_hub

    config = backbone.config
    theirs = keras_hub.models.BertBackbone(
        **{
            name: config[name]
            for name in (
                *("vocabulary_size", "num_layers", "num_heads", "dropout"),
                *("hidden_dim", "intermediate_dim", "num_segments"),
                "max_sequence_length",
            )
        }
    )

    def copy(name, layer):
        theirs.get_layer(name).set_weights(layer.get_weights())

    e = backbone.embeddings
    copy("token_embedding", e.token_embedding)
    copy("position_embedding", e.position_embedding)
    copy("segment_embedding", e.segment_embedding)
    copy("embeddings_layer_norm", e.norm)
    copy("pooled_dense", backbone.pooler)
    for i, layer in enumerate(backbone.encoder):
        _copy_layer(theirs.get_layer(f"transformer_layer_{i}"), layer)
    return theirs


def _copy_layer(theirs, layer) -> None:
    attention = layer.attention
    parts = {
        "self_attention_layer/query": attention.query,
        "self_attention_layer/key": attention.key,
        "self_attention_layer/value": attention.value,
        "self_attention_layer/attention_output": attention.output_dense,
        "self_attention_layer_norm": layer.attention_norm,
        "feedforward_intermediate_dense": layer.intermediate,
        "feedforward_output_dense": layer.output_dense,
        "feedforward_layer_norm": layer.output_norm,
    }
    for variable in theirs.weights:
        place = variable.path.partition(f"{theirs.name}/")[2]
        part, _, kind = place.rpartition("/")
        value = getattr(parts[part], kind).numpy()
        # Keras's attention keeps heads apart; numbers and order agree.
        variable.assign(value.reshape(variable.shape))


def _classifier(task: TextModel, backbone, tokenizer):
    import keras_hub

    theirs = keras_hub.models.BertTextClassifier(
        backbone,
        num_classes=len(task.head.labels),
        preprocessor=keras_hub.models.BertTextClassifierPreprocessor(
            tokenizer, sequence_length=task.max_length
        ),
    )
    weights = dict(task.head_weights())
    theirs.get_layer("logits").set_weights(
        [weights[f"head.logits.{kind}"].numpy() for kind in ("kernel", "bias")]
    )
    return theirs
