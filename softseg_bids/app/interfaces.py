"""Each step, visible to nipype.

A step is a plain function with annotations; its interface takes the names and types of its
inputs and outputs from them. The parameter ``folder`` is not an input: it is the node's own
folder.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits

from softseg_bids.app import level_steps, session_steps, steps
from softseg_bids.image.aside import written_aside
from softseg_bids.image.volume import DataError

# nipype opens and hashes whatever string names a file, unless told not to: images are known by
# their checksum or stamp, and what OUT holds must not change a step's identity.
_TEXT: dict[str, bool] = {"hash_files": False}

# What nipype has to say goes to the run's log (see `engine.configure`), not to the terminal.
logging.getLogger("nipype").propagate = False
logging.getLogger("nipype").handlers[:] = [logging.NullHandler()]

FAILURE = "failure.json"
FILES = "files.json"
TRAITS = {
    str: lambda: traits.Str(**_TEXT),
    bool: lambda: traits.Bool(),
    int: lambda: traits.Int(),
    float: lambda: traits.Float(),
    Path: lambda: File(exists=True),
    list[str]: lambda: traits.List(traits.Str(**_TEXT), **_TEXT),
    list[Path]: lambda: traits.List(File(exists=True)),
}


class StepInterface(SimpleInterface):  # type: ignore[misc]
    """A nipype interface that calls the function ``step``.

    A failure is written to ``failure.json`` in the node's folder before it is raised on, so
    that the main process can tell what the user can mend from what is our fault. All files
    written are listed in ``files.json``, so that a later run notices when one was removed.
    """

    step: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        hints = get_type_hints(cls.step)
        returned = get_type_hints(hints.pop("return"))
        returned.pop("outputs", None)  # files in OUT are listed, not handed on
        hints.pop("folder", None)
        cls.input_spec = _spec(cls, "input_spec", BaseInterfaceInputSpec, hints)
        cls.output_spec = _spec(cls, "output_spec", TraitedSpec, returned)

    def _run_interface(self, runtime: Any) -> Any:
        folder = Path(runtime.cwd)
        inputs = {name: getattr(self.inputs, name) for name in self.inputs.copyable_trait_names()}
        values = {name: _plain(value) for name, value in inputs.items()}
        hints = get_type_hints(type(self).step)
        typed = {name: _typed(hints[name], value) for name, value in values.items()}
        if "folder" in inspect.signature(type(self).step).parameters:
            typed["folder"] = folder
        try:
            results = type(self).step(**typed)
        except Exception as error:
            note = {
                "message": str(error),
                "for_user": isinstance(error, DataError),
                "kind": type(error).__name__,
            }
            with contextlib.suppress(OSError):  # on a full disk the traceback has to do
                text = json.dumps(note | {"traceback": traceback.format_exc()})
                (folder / FAILURE).write_text(text, encoding="utf-8")
            raise
        values = results._asdict()
        written = values.pop("outputs", []) + [
            str(value) for value in values.values() if isinstance(value, Path)
        ]
        # The main process reads it before nipype decides whether the node is to be run again.
        with written_aside(folder / FILES) as aside:
            aside.write_text(json.dumps(written), encoding="utf-8")
        self._results.update({name: _plain(value) for name, value in values.items()})
        return runtime


def _spec(owner: type, name: str, base: type, hints: dict[str, Any]) -> type:
    """A traited class that pickles: reachable as ``owner.name`` in the owner's module."""
    members: dict[str, Any] = {field: TRAITS[hint]() for field, hint in hints.items()}
    members["__module__"] = owner.__module__
    members["__qualname__"] = f"{owner.__qualname__}.{name}"
    return type(name, (base,), members)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _typed(hint: Any, value: Any) -> Any:
    if hint is Path:
        return Path(value)
    if hint == list[Path]:
        return [Path(item) for item in value]
    return value


class Conform(StepInterface):
    step = staticmethod(steps.conform)


class Segment(StepInterface):
    step = staticmethod(steps.segment)


class Trace(StepInterface):
    step = staticmethod(steps.trace)


class Find(StepInterface):
    step = staticmethod(level_steps.find)


class Save(StepInterface):
    step = staticmethod(steps.save)


class Label(StepInterface):
    step = staticmethod(session_steps.label)


class Measure(StepInterface):
    step = staticmethod(session_steps.measure)


class Summarise(StepInterface):
    step = staticmethod(session_steps.summarise)


class Draw(StepInterface):
    step = staticmethod(session_steps.draw)


class Page(StepInterface):
    step = staticmethod(session_steps.page)
