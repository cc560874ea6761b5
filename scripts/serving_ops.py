"""Write kbert/exported/serving_ops.json: the ops each TF Serving release has.

    python scripts/serving_ops.py

Downloads one wheel at a time with pip, reads it without importing it and
deletes it; needs about 300 MB of disk and no TensorFlow. To cover another
release, add a line to `RELEASES` and run it again.

A release registers the ops of the TensorFlow and the tensorflow-text that
it was built from:

- core ops: every op that the generated modules under `tensorflow/python/ops`
  can write into a graph. What the wheel keeps elsewhere (XLA, DTensor, RPC
  and TPU embedding ops, plug-ins) is left out: the server may lack it;
- text ops: the names that occur both in tensorflow-text's libraries and, in
  snake case, as calls in its Python code.
"""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TABLE = Path(__file__).parents[1] / "kbert" / "exported" / "serving_ops.json"

# (TF Serving release, its TensorFlow, its tensorflow-text). The images up
# to 2.19.1 were all built with the text ops of 2.12.1.
RELEASES = (
    ("2.12.1", "2.12.1", "2.12.1"),
    ("2.13.1", "2.13.1", "2.12.1"),
    ("2.14.1", "2.14.1", "2.12.1"),
    ("2.15.1", "2.15.1", "2.12.1"),
    ("2.16.1", "2.16.1", "2.12.1"),
    ("2.17.0", "2.17.0", "2.12.1"),
    ("2.17.1", "2.17.1", "2.12.1"),
    ("2.18.0", "2.18.0", "2.12.1"),
    ("2.19.0", "2.19.0", "2.12.1"),
    ("2.19.1", "2.19.1", "2.12.1"),
    ("2.20.0", "2.20.0", "2.20.0"),
)

# Old pips take each tag literally, so every tag these wheels carry is named.
PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_27")


def read_wheel(requirement: str, read) -> set[str]:
    """Downloads the wheel of `requirement` and returns `read(wheel)`."""
    platforms = [f"--platform={name}_x86_64" for name in PLATFORMS]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            + ["--only-binary=:all:", "--python-version=3.11", *platforms]
            + ["--dest", folder, requirement],
            check=True,
        )
        (path,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            return read(wheel)


def core_ops(wheel: zipfile.ZipFile) -> set[str]:
    ops = set()
    for name in wheel.namelist():
        if re.fullmatch(r"tensorflow/python/ops/(\w+/)*gen_\w+\.py", name):
            source = wheel.read(name).decode()
            ops.update(re.findall(r'_apply_op_helper\(\s*"([^"]+)"', source))
    return ops


def text_ops(wheel: zipfile.ZipFile) -> set[str]:
    strings, called = set(), set()
    for name in wheel.namelist():
        if re.fullmatch(r"tensorflow_text/python/\w+/_\w+\.so", name):
            # The look-ahead leaves each NUL to start the next string.
            pattern = rb"\0((?:TFText>)?[A-Z][A-Za-z0-9]+)(?=\0)"
            strings.update(re.findall(pattern, wheel.read(name)))
        elif name.endswith(".py"):
            source = wheel.read(name).decode()
            calls = re.findall(r"\bgen_\w+[\s\\]*\.(\w+)", source)
            called.update(call.replace("_", "") for call in calls)
    ops = {string.decode() for string in strings}
    return {op for op in ops if op.lower().replace(">", "") in called}


def main() -> None:
    text, rows, before = {}, [], set()
    for release, tensorflow, tensorflow_text in RELEASES:
        core_wheel = f"tensorflow-cpu=={tensorflow}"
        text_wheel = f"tensorflow-text=={tensorflow_text}"
        if text_wheel not in text:
            text[text_wheel] = read_wheel(text_wheel, text_ops)
        now = read_wheel(core_wheel, core_ops) | text[text_wheel]
        rows.append(
            {
                "release": release,
                "wheels": [core_wheel, text_wheel],
                "adds": sorted(now - before),
                "removes": sorted(before - now),
            }
        )
        print(
            f"TF Serving {release}: {len(now)} ops, {len(now - before)} more, "
            f"{len(before - now)} fewer than the release before"
        )
        before = now
    TABLE.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
