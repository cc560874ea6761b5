"""Hugging Face form: config.json, weights, vocabulary.

BERT, and its kin where only names differ: DistilBERT (Sanh et al. 2019,
arXiv:1910.01108), whose missing segment embeddings are zeros here, and
ELECTRA (Clark et al. 2020, arXiv:2003.10555).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from kbert.checkpoints.configs import check_config
from kbert.errors import CheckpointError
from kbert.errors import short
from kbert.formats import torch_form
from kbert.formats.safetensors_form import INDEX
from kbert.formats.safetensors_form import WEIGHTS
from kbert.formats.safetensors_form import open_shards
from kbert.formats.safetensors_form import open_tensors
from kbert.formats.tensors import Named
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import named_variables
from kbert.models.backbone import Backbone
from kbert.utils.json_text import dumps
from kbert.utils.untrusted import has_member
from kbert.utils.untrusted import listed
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_object

_WORDS = "embeddings.word_embeddings.weight"

# Hugging Face's config.json key -> Backbone argument.
_CONFIG = {
    "vocab_size": "vocabulary_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "hidden_size": "hidden_dim",
    "intermediate_size": "intermediate_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "max_position_embeddings": "max_sequence_length",
    "type_vocab_size": "num_segments",
    "layer_norm_eps": "layer_norm_epsilon",
    "initializer_range": "initializer_range",
    "embedding_size": "embedding_dim",
}
_REQUIRED = ("vocab_size", "num_hidden_layers", "hidden_size")

# DistilBERT's key -> BERT's.
_DISTILBERT_CONFIG = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}
_DISTILBERT_NAMES = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}

TYPES = ("bert", "distilbert", "electra")

# What transformers and Google's code take where a config.json says nothing.
# Shapes do not tell the number of heads.
_LEFT_OUT = {
    "bert": {"num_attention_heads": 12, "intermediate_size": 3072},
    "electra": {
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "embedding_size": 128,
    },
}

# Ways to compute that a config.json may ask for and kbert has not.
_ONLY = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({},),
    "quantization_config": (),
    "auto_map": (),
}
_WHY = {
    "quantization_config": "kbert reads weights as they were before they were "
    "quantized: save the model in float32, float16 or bfloat16.",
    "auto_map": "kbert runs no code that comes with a model.",
}

# Other names of what kbert computes.
_ACTIVATIONS = {"gelu_python": "gelu", "gelu_fast": "gelu_pytorch_tanh"}

# Keys that do not change the features: of heads, of training, of text that is
# generated, of how the model was saved.
_NO_MATTER = {
    *("_name_or_path", "_num_labels", "architectures", "attention_type"),
    *("adapters", "bad_words_ids", "begin_suppress_tokens", "bos_token_id"),
    *("chunk_size_feed_forward", "classifier_dropout", "cls_token_id"),
    *(
        "cross_attention_hidden_size",
        "custom_pipelines",
        "decoder_start_token_id",
    ),
    *("directionality", "diversity_penalty", "do_sample", "dtype"),
    *("early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id"),
    *("exponential_decay_length_penalty", "finetuning_task"),
    *("forced_bos_token_id", "forced_eos_token_id", "generator_size"),
    *("generator_hidden_size", "gradient_checkpointing", "id2label"),
    *("label2id", "language", "length_penalty", "mask_token_id", "max_length"),
    *("min_length", "model_type", "name", "no_repeat_ngram_size"),
    *("num_beam_groups", "num_beams", "num_labels", "num_return_sequences"),
    *("output_attentions", "output_hidden_states", "output_past"),
    *("output_scores", "pad_token_id", "pooler_fc_size"),
    *("pooler_num_attention_heads", "pooler_num_fc_layers"),
    *("pooler_size_per_head", "pooler_type", "prefix", "problem_type"),
    *("qa_dropout", "remove_invalid_values", "repetition_penalty"),
    *("return_dict", "return_dict_in_generate", "sep_token_id"),
    *("seq_classif_dropout", "sentence_transformers", "sinusoidal_pos_embds"),
    *("summary_activation", "summary_last_dropout", "summary_type"),
    *("summary_use_proj", "suppress_tokens", "task_specific_params"),
    *("temperature", "tf_legacy_loss", "tie_encoder_decoder", "tie_weights_"),
    *("tie_word_embeddings", "tokenizer_class", "top_k", "top_p"),
    *("torch_dtype", "torchscript", "transformers_version", "typical_p"),
    *("unk_token_id", "use_bfloat16", "use_cache", "xla_device"),
    *("_attn_implementation_autoset", "model_name", "vocab_file"),
}


# === Configuration ===


def read_config(folder: Path, name: str = "config.json") -> dict:
    """Backbone arguments from a folder's config.json.

    Raises:
        CheckpointError: the file is missing or no JSON, is not a BERT's or
            its kin's, or has values that no BERT has.
    """
    path = member(folder, name)
    config = read_object(path)
    kind = config.get("model_type", "bert")
    if kind not in TYPES:
        raise CheckpointError(
            f"Expected one of the model types {', '.join(TYPES)} in {path}. "
            f"Received: {short(kind)}. kbert reads BERT and its close kin only."
        )
    for key, values in _ONLY.items():
        if config.get(key) is not None and config[key] not in values:
            expected = repr(values[0]) if values else "left out"
            why = _WHY.get(key, "kbert computes BERT as its paper has it.")
            raise CheckpointError(
                f"Expected {key} {expected} in {path}. Received: "
                f"{short(config[key])}. {why}"
            )
    if kind == "distilbert":
        config = {
            _DISTILBERT_CONFIG.get(k, k): v for k, v in config.items()
        } | {"type_vocab_size": 2}
    if missing := [key for key in _REQUIRED if key not in config]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}.")
    if unknown := config.keys() - {*_CONFIG, *_ONLY, *_NO_MATTER}:
        logging.getLogger("kbert").warning(
            "%s has keys that kbert does not read: %s. If they change what "
            "the model computes, kbert's features are others.",
            path,
            listed(sorted(map(str, unknown)), ", "),
        )
    config = _LEFT_OUT.get(kind, _LEFT_OUT["bert"]) | config
    known = {ours: config[hf] for hf, ours in _CONFIG.items() if hf in config}
    activation = known.get("activation")
    if isinstance(activation, str):
        known["activation"] = _ACTIVATIONS.get(activation, activation)
    return check_config(known, path)


def hf_config(backbone: Backbone) -> dict:
    """A backbone's arguments under the names of `BertConfig`."""
    config = {hf: backbone.config[ours] for hf, ours in _CONFIG.items()}
    if config["embedding_size"] is None:
        del config["embedding_size"]
    return config


def write_config(
    backbone: Backbone, folder: Path, architecture: str = "BertModel", **more
) -> None:
    """Write a backbone's config.json in Hugging Face's form."""
    config = {
        "model_type": "bert",
        "architectures": [architecture],
        **hf_config(backbone),
        **more,
    }
    text = dumps(config, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


# === Tensors ===


def open_weights(folder: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a folder under `BertModel`'s names, and their file.

    Raises:
        CheckpointError: there is no file of weights, or it is corrupt.
    """
    if has_member(folder, WEIGHTS):
        name, tensors = WEIGHTS, open_tensors(member(folder, WEIGHTS))
    elif has_member(folder, INDEX):
        name, tensors = INDEX, open_shards(folder)
    else:
        name, tensors = torch_form.open_folder(folder)
    return canonical_tensors(tensors), name


def canonical_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of today's `BertModel`.

    Whatever stands before the BERT's own names is left out, such as `bert.`,
    `module.bert.` (of data-parallel training) or `_orig_mod.` (of compiled
    models); what wraps the whole model is left out of its heads' names too.

    Raises:
        CheckpointError: there are several BERTs, or an adapter's tensors.
    """
    adapter = [
        name
        for name in tensors
        if re.search(r"\blora_|\.lora|\.base_layer\.", name)
    ]
    if adapter:
        raise CheckpointError(
            f"Expected the weights of a BERT. Received also: "
            f"{listed(adapter[:3])}, of an adapter (LoRA). Merge it first: "
            f"model.merge_and_unload() of peft."
        )
    before = _before(tensors)
    wrapper = re.sub(r"(^|\.)(bert|electra|distilbert)\.$", r"\1", before)
    found, distilbert = {}, False
    for name, tensor in tensors.items():
        own = name.removeprefix(before)
        if own == name:  # Of a head.
            own = name.removeprefix(wrapper)
        distilbert |= own.startswith("transformer.layer.")
        found[_canonical(own)] = tensor
    table = found.get(_WORDS)
    if distilbert and table is not None and len(table.shape) == 2:
        zeros = np.zeros((2, table.shape[1]), "float32")
        found["embeddings.token_type_embeddings.weight"] = Tensor.of(zeros)
    return found


def _before(tensors: Mapping[str, Tensor]) -> str:
    """What stands before the names of the BERT among the tensors."""
    found = [
        name.removesuffix(_WORDS)
        for name in tensors
        if name == _WORDS or name.endswith(f".{_WORDS}")
    ]
    if len(found) > 1:
        raise CheckpointError(
            f"Expected the weights of one BERT. Received: {len(found)}, under "
            f"{listed(sorted(found), ', ')}. Save the one to read by itself."
        )
    return found[0] if found else ""


def _canonical(name: str) -> str:
    """A name as today's `BertModel` spells it.

    With `weight` and `bias` of the older `gamma` and `beta`, and with BERT's
    parts of a layer.
    """
    if found := re.fullmatch(r"transformer\.(layer\.\d+)\.(.+)\.(\w+)", name):
        layer, part, kind = found.groups()
        name = f"encoder.{layer}.{_DISTILBERT_NAMES.get(part, part)}.{kind}"
    if name.endswith(".gamma"):
        return name.removesuffix("gamma") + "weight"
    if name.endswith(".beta"):
        return name.removesuffix("beta") + "bias"
    return name


def backbone_tensors(backbone: Backbone) -> dict[str, np.ndarray]:
    """A backbone's weights under Hugging Face's names."""
    return tensors_of(named_variables(backbone))


def tensors_of(named: Iterable[Named]) -> dict[str, np.ndarray]:
    """Arrays of what `named_variables` and its like give."""

    def array(variable: keras.Variable) -> np.ndarray:
        return keras.ops.convert_to_numpy(variable)

    return {
        name: array(variable).T if transposed else array(variable)
        for name, variable, transposed in named
    }
