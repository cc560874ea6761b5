"""Score Parquet or text files on Spark, with a pandas UDF.

    pip install pyspark                     # and a Java runtime, 17 or later
    python examples/spark_udf.py exports/spam mail/ answers/ --text body

MODEL is an export (`kbert export`), the same that TF Serving and `kbert
predict --output` take. Each file of INPUT (.parquet, or .txt with a text a
line) becomes a folder of Parquet files in OUTPUT. Spark writes `_SUCCESS`
into it last: killed and started again, the script goes on with the files
whose folder has none. On a cluster, run it by `spark-submit`; workers need
kbert installed, and the model under the same path.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from kbert.exported.model import find_version
from kbert.exported.model import model_digest
from kbert.exported.model import shared_model


def make_udf(model: str):
    """A UDF from a column of texts to a struct of label and score."""
    from pyspark.sql.functions import pandas_udf

    # An iterator: the model is looked up once a task, not once a batch.
    def answer(columns: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        # One core a task; Spark runs as many tasks as there are cores.
        served = shared_model(model, threads=1)
        (name,) = served.inputs
        for texts in columns:
            # A row without a text is asked as an empty one.
            answers = served({name: texts.fillna("").tolist()})
            yield pd.DataFrame(
                {"label": answers["label"], "score": answers["score"]}
            )

    return pandas_udf(answer, "label string, score float")


def score_file(spark, udf, path: Path, target: Path, text: str) -> None:
    """Answer one file; `target` has `_SUCCESS` when it is whole."""
    if path.suffix == ".parquet":
        rows = spark.read.parquet(str(path))
    else:
        rows = spark.read.text(str(path), lineSep="\n")
        text = "value"
    # A small file is one partition, which would keep one core busy only.
    rows = rows.repartition(spark.sparkContext.defaultParallelism)
    answered = rows.withColumn("answer", udf(rows[text]))
    answered.select(*rows.columns, "answer.*").write.mode("overwrite").parquet(
        str(target)
    )


def check_model(version: Path, output: Path) -> None:
    """Answers of different models do not belong into one folder."""
    digest, note = model_digest(version), output / "_model"
    output.mkdir(parents=True, exist_ok=True)
    if note.exists() and note.read_text() != digest:
        sys.exit(f"{output} has answers of another model.")
    note.write_text(digest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("input", type=Path, help="a file or folder")
    parser.add_argument("output", type=Path)
    parser.add_argument("--text", default="text", help="column of the texts")
    parser.add_argument("--master", default="local[*]", help="of Spark")
    arguments = parser.parse_args()

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    version = find_version(arguments.model).absolute()
    files = [arguments.input]
    if arguments.input.is_dir():
        files = [
            path
            for path in sorted(arguments.input.iterdir())
            if path.suffix in (".parquet", ".txt")
        ]
    output = arguments.output.absolute()
    check_model(version, output)
    spark = (
        SparkSession.builder.master(arguments.master)
        .appName("kbert")
        .getOrCreate()
    )
    udf = make_udf(str(version))
    for path in files:
        target = output / path.name
        if (target / "_SUCCESS").exists():
            print(f"{path.name}: was there", flush=True)
            continue
        score_file(spark, udf, path.absolute(), target, arguments.text)
        print(f"{path.name}: done", flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
