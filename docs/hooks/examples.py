"""The house writes `Example:` where the reader of docstrings expects `Examples:`."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Name the section as the parser knows it, so that its code is shown as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of one object's docstring."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
