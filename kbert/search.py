"""Semantic search: the texts nearest in meaning to a query.

The index is faiss's (`pip install 'kbert-keras[search]'`): of the libraries
that search vectors it is the one with an exact index as well as an
approximate one, wheels for every platform, and NumPy as all it needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

import numpy as np

from kbert.data.files import PART
from kbert.data.texts import chunks
from kbert.embedder import unit
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import UnsafeFileError
from kbert.errors import short
from kbert.formats.safetensors_form import read_tensors
from kbert.formats.safetensors_form import write_tensors
from kbert.utils.atomic import new_folder
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_integer
from kbert.utils.checks import suggesting
from kbert.utils.extras import need
from kbert.utils.paths import as_path
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_object

if TYPE_CHECKING:
    from kbert.embedder import Embedder

# Names of indices, to what faiss's index_factory calls them.
KINDS = {"flat": "Flat", "hnsw": "HNSW32,Flat"}

TEXTS, VECTORS, CONFIG = "texts.jsonl", "vectors.safetensors", "search.json"

# Texts that are encoded before they are added.


class Hit(NamedTuple):
    """An answer to a query.

    Attributes:
        text: the text that was found.
        score: cosine of its vector and the query's, -1 to 1, or their dot
            product if the embedder's checkpoint says so.
        row: its place among the texts that were added.
    """

    text: str
    score: float
    row: int


@suggesting
class SearchIndex:
    """Texts that can be searched by meaning.

    Args:
        embedder: a `kbert.Embedder`; queries must meet the one that the
            texts were encoded by.
        texts: an iterable of texts; more can be added later.
        kind: `"flat"` compares a query with every text, exactly. `"hnsw"`
            walks a graph of neighbours, which finds nearly all of the same
            in a fraction of the time; it pays from about 100,000 texts on.

    Raises:
        ConfigError: faiss is not installed, or no such kind.
        InputError: there are no texts, or a row is no text.

    Reference: Douze et al. 2024, The Faiss library,
    https://arxiv.org/abs/2401.08281; Malkov & Yashunin 2016, Hierarchical
    Navigable Small World graphs, https://arxiv.org/abs/1603.09320

    Example:

    >>> index = kbert.SearchIndex(kbert.Embedder(), ["A cat", "A car"])
    >>> index.search("kitten", k=1)
    [Hit(text='A cat', score=0.66, row=0)]
    """

    def __init__(self, embedder: Embedder, texts: Any, kind: str = "flat"):
        self.kind = check_choice("kind", kind, KINDS)
        if not hasattr(embedder, "dimension"):
            raise ConfigError(
                f"`embedder` must be a kbert.Embedder. Received: "
                f"{short(embedder)}"
            )
        embedder.head.check_products()
        self.embedder = embedder
        self.texts: list[str] = []
        self._index = _faiss().index_factory(
            embedder.dimension, KINDS[kind], _faiss().METRIC_INNER_PRODUCT
        )
        if texts is not None:
            self.add(texts)

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, texts: Any) -> None:
        """Add texts, a window at a time.

        Example:

        >>> index = kbert.SearchIndex(embedder, ["A man eats."])
        >>> index.add(["Bread: flour, water, salt."])
        >>> len(index)
        2
        """
        [column] = self.embedder.columns(texts)
        for window in chunks(column, PART):
            self._index.add(self._scaled(self.embedder.encode_document(window)))
            self.texts += [
                t.decode("utf-8", "ignore") if isinstance(t, bytes) else t
                for t in window
            ]

    def _scaled(self, vectors: np.ndarray) -> np.ndarray:
        dot = self.embedder.head.similarity == "dot"
        return vectors if dot else unit(vectors)

    def search(self, queries: Any, k: int = 5) -> list:
        """The `k` texts nearest to each query, the nearest first.

        Args:
            queries: a list of texts, or one text.
            k: texts to find; fewer if there are not as many.

        Returns:
            A list of `Hit` for each query; for one text that list alone.

        Raises:
            ConfigError: `k` is not a positive integer.
            InputError: queries are not texts.

        Example:

        >>> index = kbert.SearchIndex(embedder, ["A man eats.", "It rains."])
        >>> [hit.text for hit in index.search("It rains.", k=1)]
        ['It rains.']
        """
        k = check_integer("k", k)
        if isinstance(queries, str | bytes):
            return self.search([queries], k)[0]
        [column] = self.embedder.columns(queries)
        vectors = self._scaled(self.embedder.encode_query(column))
        scores, rows = self._index.search(vectors, min(k, len(self)))
        return [
            [
                Hit(self.texts[row], float(score), int(row))
                # An approximate index may find fewer, and says -1 then.
                for score, row in zip(*found, strict=True)
                if row >= 0
            ]
            for found in zip(scores, rows, strict=True)
        ]

    # === Save and load ===

    def save(self, path: str | Path) -> None:
        """Save texts and vectors to a new folder; the embedder is not in it.

        Raises:
            CheckpointError: the folder exists or cannot be written.

        Example:

        >>> index = kbert.SearchIndex(embedder, ["A man eats."])
        >>> index.save("saved_models/index")
        """
        vectors = self._index.reconstruct_n(0, len(self))
        with new_folder(path) as folder:
            write_tensors({"vectors": vectors}, folder / VECTORS)
            with open(folder / TEXTS, "w", encoding="utf-8") as file:
                for text in self.texts:
                    file.write(json.dumps(text) + "\n")
            (folder / CONFIG).write_text(json.dumps({"kind": self.kind}))

    @classmethod
    def load(cls, path: str | Path, embedder: Embedder) -> SearchIndex:
        """Load what `save` saved; the index is built anew from the vectors.

        Args:
            path: the folder.
            embedder: the one that the texts were encoded by.

        Raises:
            CheckpointError: the folder is not as `save` writes it, or its
                vectors are of another size than the embedder's.
            UnsafeFileError: a file leads out of the folder.

        Example:

        >>> index = kbert.SearchIndex(embedder, ["A man eats."])
        >>> index.save("saved_models/other")
        >>> len(kbert.SearchIndex.load("saved_models/other", embedder))
        1
        """
        path = as_path(path)
        try:
            kind = read_object(member(path, CONFIG)).get("kind")
            with open(member(path, TEXTS), encoding="utf-8") as file:
                texts = [json.loads(line) for line in file]
            if kind not in [*KINDS] or not all(type(t) is str for t in texts):
                raise ValueError(f"no texts, or an index of kind {short(kind)}")
        except UnsafeFileError:
            raise
        except (CheckpointError, OSError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"Expected a folder that SearchIndex.save wrote. Received: "
                f"{path}: {error}."
            ) from error
        tensors = read_tensors(member(path, VECTORS))
        vectors = tensors.get("vectors", np.empty(0))
        if vectors.shape != (len(texts), embedder.dimension):
            raise CheckpointError(
                f"Expected vectors of shape ({len(texts)}, "
                f"{embedder.dimension}) in {path}. Received: shape "
                f"{vectors.shape}. Load it with the embedder it was made by."
            )
        index = cls(embedder, None, kind)
        index._index.add(np.ascontiguousarray(vectors, "float32"))
        index.texts = texts
        return index


def _faiss() -> ModuleType:
    return need("search", "faiss", purpose="search")
