"""Makes tests/fixtures/huggingface: a small random BERT and its outputs.

    pip install -e ".[bench]" && python scripts/huggingface_fixture.py

The outputs are those of `transformers.BertModel`, with each form of GELU, so
that the fast tests compare with it without Torch.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig
from transformers import BertModel

FOLDER = Path(__file__).parents[1] / "tests" / "fixtures" / "huggingface"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [
    *"abcdefghijklmnopqrstuvwxyz.,!?",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
]


def main() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        # Larger than usual, so that a wrong activation shows.
        initializer_range=0.3,
    )
    model = BertModel(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "LayerNorm" in name:
            torch.nn.init.normal_(parameter, 0.5, 0.2)
    model.save_pretrained(FOLDER)
    (FOLDER / "vocab.txt").write_text("\n".join(TOKENS) + "\n")

    random = np.random.default_rng(0)
    lengths = np.array([12, 7, 1, 9])
    mask = np.arange(12) < lengths[:, None]  # (B, T)
    token_ids = random.integers(5, len(TOKENS), mask.shape) * mask
    segment_ids = ((np.arange(12) > 5) & mask).astype(int)
    arrays = {
        "token_ids": token_ids.astype("int32"),
        "segment_ids": segment_ids.astype("int32"),
        "padding_mask": mask,
    }
    for activation in ("gelu", "gelu_new"):
        config.hidden_act = activation
        model = BertModel.from_pretrained(
            FOLDER, config=config, attn_implementation="eager"
        ).eval()
        with torch.no_grad():
            outputs = model(
                input_ids=torch.tensor(token_ids),
                token_type_ids=torch.tensor(segment_ids),
                attention_mask=torch.tensor(mask).long(),
                output_hidden_states=True,
                output_attentions=True,
            )
        arrays |= {
            f"{activation}/sequence_output": outputs.last_hidden_state.numpy(),
            f"{activation}/pooled_output": outputs.pooler_output.numpy(),
            f"{activation}/hidden_states": torch.stack(
                outputs.hidden_states
            ).numpy(),
            f"{activation}/attentions": torch.stack(outputs.attentions).numpy(),
        }
    np.savez_compressed(FOLDER / "outputs.npz", **arrays)


if __name__ == "__main__":
    main()
