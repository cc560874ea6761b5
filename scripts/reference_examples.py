"""Examples of docstrings as code, on the pages of the reference.

Used by mkdocs.yml. Docstrings have Keras's form, `Example:` and a block of
`>>>` that is not indented, which griffe takes for prose.
"""

import re
import textwrap

import griffe

# Paragraphs that begin with a prompt.
_EXAMPLE = re.compile(r"^Example:\n\n((?:>>> .*(?:\n.+)*\n*)+)", re.MULTILINE)


def _as_section(found: re.Match) -> str:
    return "Examples:\n" + textwrap.indent(found[1], "    ")


class Examples(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = _EXAMPLE.sub(_as_section, text)
