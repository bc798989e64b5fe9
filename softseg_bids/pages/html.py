"""Pages from templates: texts are escaped, scripts stand in the page, and a policy lets only those run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined


def pages_environment() -> Environment:
    """Where templates come from; a name that is not there is an error, and texts are escaped."""
    return Environment(
        loader=PackageLoader("softseg_bids.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def joined_script(environment: Environment, names: Sequence[str]) -> str:
    """Scripts of the templates' folder (names without ending) as one, in a scope of their own."""
    source = environment.loader
    assert source is not None
    script = "\n".join(source.get_source(environment, f"{name}.js")[0] for name in names)
    return f'"use strict";\n(() => {{\n{script}\n}})();\n'


def script_hash(script: str) -> str:
    """What a content security policy calls a script that stands in the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def svg_uri(content: bytes) -> str:
    """An SVG picture as a data URI."""
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode('ascii')}"
