"""Tensors out of a checkpoint that somebody else wrote; nothing in the file is executed.

PyTorch's weights-only reader builds tensors and plain values, and stops at the name of anything else.
Published checkpoints keep some more beside their weights: the numbers of their training log, the
optimiser's class, the loss, settings in dictionaries of their own kind. Those names are known, and each
stands for :class:`Ignored` or :class:`IgnoredMapping` here, so that no library of that name is imported. A
name that is not on the list ends the reading.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from softseg_bids.image.volume import DataError, check_file


class Ignored:
    """What lies beside the weights: made without arguments, told nothing, never looked at."""

    def __new__(cls, *_: Any, **__: Any) -> Ignored:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class IgnoredMapping:
    """What holds settings beside the weights: a plain dictionary, because the reader fills no others."""

    def __new__(cls, *_: Any, **__: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


# numpy's numbers, under the names of numpy 1 and 2; and what the releases v2.x of the contrast-agnostic
# model, Lightning and nnU-Net are known to keep.
_NUMBERS = tuple(
    f"numpy.{name}"
    for name in (
        "core.multiarray.scalar", "_core.multiarray.scalar", "core.multiarray._reconstruct",
        "_core.multiarray._reconstruct", "dtype", "ndarray", "bool_", "bool", "float32", "float64", "int32",
        "int64", "dtypes.BoolDType", "dtypes.Float32DType", "dtypes.Float64DType", "dtypes.Int32DType",
        "dtypes.Int64DType", "dtypes.StrDType",
    )
)  # fmt: skip
_BESIDE = (
    "losses.AdapWingLoss",
    "losses.SoftDiceLoss",
    "torch.optim.adam.Adam",
    "torch.optim.adamw.AdamW",
    "torch.optim.sgd.SGD",
    "argparse.Namespace",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    # What a defaultdict makes of a missing key.
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple")),
)
_MAPPINGS = (
    "collections.defaultdict",
    "easydict.EasyDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)
_HINT = (
    "a checkpoint must hold weights, not programs; ask its author for the weights alone, "
    "or save its state_dict yourself where you trust it"
)


def _stand_in(name: str, kind: type) -> tuple[type, str]:
    """A class of our own that messages call by a name of others, and that name."""
    module, _, own = name.rpartition(".")
    return type(own, (kind,), {"__module__": module}), name


_KNOWN = [
    *(_stand_in(name, Ignored) for name in (*_NUMBERS, *_BESIDE)),
    *(_stand_in(name, IgnoredMapping) for name in _MAPPINGS),
]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint: tensors and plain values, everything else without meaning.

    Raises
    ------
    DataError
        If there is no such file, it is damaged, or it names something that would have to be executed.
    """
    check_file(path)
    try:
        with torch.serialization.safe_globals(_KNOWN):  # type: ignore[arg-type]
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(f"{path}: is not read, because {_named(error)}; {_HINT}") from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read as a checkpoint ({reason}); download it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__} where a checkpoint holds a dictionary")
    return content


def _named(error: pickle.UnpicklingError) -> str:
    """What the reader stopped at, in a few words."""
    text = str(error)
    if "GLOBAL " in text:
        return f"it names {text.split('GLOBAL ')[1].split()[0]}, which would have to be executed"
    said = re.search("WeightsUnpickler error: (.+)", text)
    classes = re.findall("<class '([^']+)'>", said[1] if said else text)
    if classes:
        return f"it fills a {classes[-1]}, which would have to be executed"
    return f"it holds more than weights ({said[1].strip() if said else text or 'unknown'})"
