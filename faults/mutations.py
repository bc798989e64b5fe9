"""Ways to spoil a dataset, one participant each: headers, files, sidecars, names, series, labels.

A mutation gets a participant's image, changes what it likes about it, and says what is to be expected.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from faults.bodies import affine_of, cord_image, write_image

SHAPE = (14, 14, 16)
RADIUS_MM = 3.5
# The image must come out as if nothing had happened; it must be refused or left out; or either.
Expected = Literal["measured", "refused", "either"]
Mutation = Callable[[Path, random.Random], Expected]

NASTY = "<script>alert('x')</script>\"&';$(id)`id`\t\n"
# Offset in the header, struct format, values.
FIELDS: tuple[tuple[str, int, str, tuple[Any, ...]], ...] = (
    ("sizeof_hdr", 0, "i", (0, 347, -1, 540, 2**31 - 1)),
    ("dim0", 40, "h", (0, -1, 1, 2, 8, 32767, 5)),
    ("dim1", 42, "h", (0, -1, 1, 32767, 13, 15)),
    ("dim3", 46, "h", (0, -1, 1, 32767, 15, 17)),
    ("dim4", 48, "h", (0, -5, 2, 32767)),
    ("datatype", 70, "h", (0, 1, 2, 4, 32, 64, 128, 255, 1536, 1792, 2048, 2304, -3, 4097)),
    ("bitpix", 72, "h", (0, 1, 7, 32767, -8)),
    ("pixdim0", 76, "f", (0.0, float("nan"), 7.0)),
    ("pixdim1", 80, "f", (0.0, -1.0, float("nan"), float("inf"), 1e-9, 1e9)),
    ("vox_offset", 108, "f", (0.0, 1.0, 353.0, -5.0, 1e9, float("nan"), float("inf"), 360.0)),
    ("scl_slope", 112, "f", (0.0, float("nan"), float("inf"), 1e38, -1.0, 1e-40)),
    ("scl_inter", 116, "f", (float("nan"), float("inf"), 1e38)),
    ("xyzt_units", 123, "B", (0, 1, 3, 255)),
    ("qform_code", 252, "h", (0, -1, 5, 32767)),
    ("sform_code", 254, "h", (0, -1, 5, 32767)),
    ("quatern_b", 256, "f", (2.0, float("nan"), -7.0)),
    ("srow_x", 280, "f", (0.0, float("nan"), float("inf"), 1e30, -1e-30)),
    ("magic", 344, "4s", (b"ni1\0", b"n+2\0", b"\0\0\0\0", b"JPEG")),
)


def _rewrite(image: Path, change: Callable[[bytearray], object]) -> None:
    content = bytearray(gzip.decompress(image.read_bytes()))
    change(content)
    image.write_bytes(gzip.compress(bytes(content), 1))


def header_field(image: Path, rng: random.Random) -> Expected:
    """One field of the header gets an impossible, or another, value."""
    _, place, kind, values = rng.choice(FIELDS)
    _rewrite(image, lambda content: struct.pack_into(f"<{kind}", content, place, rng.choice(values)))
    return "either"


def header_bytes(image: Path, rng: random.Random) -> Expected:
    """Some bytes of the header are random."""

    def change(content: bytearray) -> None:
        for _ in range(rng.randint(1, 12)):
            content[rng.randrange(352)] = rng.randrange(256)

    _rewrite(image, change)
    return "either"


def header_extension(image: Path, rng: random.Random) -> Expected:
    """An extension that claims to be larger than any file."""

    def change(content: bytearray) -> None:
        content[348] = 1
        struct.pack_into("<f", content, 108, float(rng.choice((368, 2**20, 2**24))))
        content[352:352] = struct.pack("<2i", rng.choice((2**31 - 16, -16, 0, 16)), 6) + bytes(8)

    _rewrite(image, change)
    return "either"


def compressed_bytes(image: Path, rng: random.Random) -> Expected:
    """Damage within the compressed stream, or its end is missing."""
    content = bytearray(image.read_bytes())
    if rng.random() < 0.5:
        content = content[: rng.randrange(len(content) - 1)]
    else:
        for _ in range(rng.randint(1, 5)):
            content[rng.randrange(10, len(content))] ^= 1 << rng.randrange(8)
    whole = gzip.decompress(image.read_bytes())
    image.write_bytes(content)
    try:  # two flips of one bit, or a bit that means nothing
        return "measured" if gzip.decompress(content) == whole else "refused"
    except (OSError, EOFError, zlib.error):
        return "refused"


def bomb(image: Path, rng: random.Random) -> Expected:
    """A small file that unpacks to a hundred times what its header claims."""
    content = gzip.decompress(image.read_bytes())
    packed = [gzip.compress(content, 1), *[gzip.compress(bytes(2**24), 1)] * rng.randint(2, 12)]
    image.write_bytes(b"".join(packed))
    return "refused"


def too_large(image: Path, rng: random.Random) -> Expected:
    """A header that claims more voxels than any memory holds."""
    sides = [rng.choice((1500, 4000, 32767)) for _ in range(3)]
    _rewrite(image, lambda content: struct.pack_into("<3h", content, 42, *sides))
    return "refused"


def no_image(image: Path, rng: random.Random) -> Expected:
    """Not an image at all: empty, text, a pipe, a folder, a device, a broken or endless link."""
    kind = rng.randrange(8)
    image.unlink()
    if kind < 3:
        text = (b"", b"not an image\n", b"\x89PNG\r\n\x1a\n" + bytes(500))[kind]
        image.write_bytes(text if rng.random() < 0.5 else gzip.compress(text))
    elif kind == 3:
        os.mkfifo(image)
    elif kind == 4:
        image.mkdir()
    else:
        image.symlink_to(("/dev/zero", "../../.git/annex/objects/none", image.name)[kind - 5])
    return "refused"


def other_voxels(image: Path, rng: random.Random) -> Expected:
    """Valid in another way: other types, byte order, kind of NIfTI, trailing axes."""
    cord = cord_image(SHAPE, RADIUS_MM)
    kind = rng.randrange(6)
    if kind < 3:
        write_image(image, cord.astype((np.uint8, np.int16, np.float64)[kind]))
        return "measured"
    if kind == 3:
        nib.save(nib.Nifti2Image(cord, affine_of(SHAPE)), image)
        return "measured"
    if kind == 4:
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(np.float32)
        nib.save(nib.Nifti1Image(cord, affine_of(SHAPE), header), image)
        return "measured"
    write_image(image, cord[..., None, None])
    return "measured"


def wrong_voxels(image: Path, rng: random.Random) -> Expected:
    """Voxels that cannot be measured: nothing, NaN, infinite, complex, colours, a slice, a series."""
    cord = cord_image(SHAPE, RADIUS_MM)
    colour = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    wrong: tuple[Any, ...] = (
        0 * cord,
        cord * np.nan,
        np.where(cord > 50, np.inf, np.nan).astype(np.float32),
        cord.astype(np.complex64),
        colour,
        cord[:, :, :1],
        np.stack([cord, cord], -1),
        np.full_like(cord, -1e38),
    )
    write_image(image, rng.choice(wrong))
    return "refused"


def sidecar(image: Path, rng: random.Random) -> Expected:
    """A sidecar that is no JSON, no object, not text, or says nonsense."""
    path = image.with_name(image.name.replace(".nii.gz", ".json"))
    value = rng.choice((None, [], {}, "x", -1, 1e308, True, [["a", {}]], NASTY, {"a": [1]}, "é" * 3000))
    names = (
        "ImageType",
        "FlipAngle",
        "MTState",
        "InstitutionName",
        "Manufacturer",
        "SoftwareVersions",
        "NonlinearGradientCorrection",
        "MRAcquisitionType",
        "ManufacturersModelName",
        "EchoTime",
    )
    texts: tuple[bytes, ...] = (
        b"", b"{", b"[1, 2]", b"null", b'"text"', bytes(range(256)), b"[" * 100_000, b'{"a": ' * 50_000,
        b'{"FlipAngle": ' + b"9" * 10_000 + b"}", b'{"FlipAngle": NaN, "EchoTime": -Infinity}',
        '{"InstitutionName": "Zürich"}'.encode("latin-1"), '{"FlipAngle": 9}'.encode("utf-16"),
        b'\xef\xbb\xbf{"FlipAngle": 9}', b'{"a": "\\ud800"}', b'{"InstitutionName": "\\ud83d\\u0000"}',
    )  # fmt: skip
    if rng.random() < 0.5:
        path.write_bytes(rng.choice(texts))
    elif rng.random() < 0.1:
        os.mkfifo(path)
    else:
        path.write_text(json.dumps({rng.choice(names): value for _ in range(3)}), encoding="utf-8")
    return "measured"


NAMES: tuple[str, ...] = (
    "{sub}_T2w copy.nii.gz",
    "{sub}_T2w;touch x.nii.gz",
    "{sub}_$(touch x)_T2w.nii.gz",
    "{sub}_T2w\n.nii.gz",
    "{sub}_`id`_T2w.nii.gz",
    "{sub}_acq-<b>_T2w.nii.gz",
    "{sub}_acq-ü_T2w.nii.gz",
    "-{sub}_T2w.nii.gz",
    "{sub}__T2w.nii.gz",
    "{sub}_T2w.NII.GZ",
    "{sub}_t2w.nii.gz",
    "{sub}_acq-.nii.gz",
    "{sub}.nii.gz",
    "_.nii.gz",
    "{sub}_acq-a_acq-b_T2w.nii.gz",
    "{sub}_ses-x_T2w.nii.gz",
    "sub-other_T2w.nii.gz",
    "{sub}_run-%s_T2w.nii.gz",
    "{sub}_" + 40 * "acq-" + "_T2w.nii.gz",
    "{sub}_desc-x_T2w.nii.gz",
    "{sub}_T2w.nii.gz.nii.gz",
    "T2w.nii.gz",
    "{sub}_acq-{{}}_T2w.nii.gz",
    "{sub}_acq-\\_T2w.nii.gz",
    "{sub}_acq-'or'1_T2w.nii.gz",
    "{sub}_T2w\udcff.nii.gz",
    "{sub}_\udc80\udc81_T2w.nii.gz",
    "{sub}_acq-a+b_T2w.nii.gz",
    "{sub}_run-1e9_T2w.nii.gz",
    "{sub}_T2w.nii",
)


def file_name(image: Path, rng: random.Random) -> Expected:
    """Another name for the file."""
    sub = image.name.split("_", 1)[0]
    image.rename(image.with_name(rng.choice(NAMES).replace("{sub}", sub)))
    return "either"


FOLDERS: tuple[str, ...] = (
    "{sub}<script>alert(1)<script>", "{sub} (copy)", "{sub}-x", "{sub}_x", "{sub}\udcff", "{sub}\n", "{sub}ü",
    "{sub};id", "{sub}%", "{sub}'", "{sub}.bak",
)  # fmt: skip


def folder_name(image: Path, rng: random.Random) -> Expected:
    """Another name for the participant's folder, or a folder for a session that is none."""
    home = image.parents[1]
    if rng.random() < 0.5:
        home.rename(home.with_name(rng.choice(FOLDERS).replace("{sub}", home.name)))
        return "refused"
    session = home / rng.choice(("ses-<b>", "ses-", "ses-a b", "ses-\udcfe", "ses-a_b", "ses"))
    session.mkdir()
    image.parent.rename(session / "anat")
    return "refused"


def series(image: Path, rng: random.Random) -> Expected:
    """Diffusion with b-values that are wrong in number or kind."""
    cord = cord_image(SHAPE, RADIUS_MM)
    folder = image.parents[1] / "dwi"
    stem = image.name.replace("_T2w.nii.gz", "_dwi")
    write_image(folder / f"{stem}.nii.gz", np.stack([cord * (1 + 0.1 * n) for n in range(3)], -1))
    bval = folder / f"{stem}.bval"
    texts: tuple[bytes, ...] = (
        b"",
        b"0 800",
        b"0 800 800 800",
        b"a b c",
        b"nan nan nan",
        b"0 -800 1e999",
        bytes(range(256)),
        b"0 0 0",
        b"0,800,800",
        "0 800 800".encode("utf-16"),
        b"800\n" * 10_000,
    )
    if rng.random() < 0.15:
        bval.mkdir() if rng.random() < 0.5 else os.mkfifo(bval)
    else:
        bval.write_bytes(rng.choice(texts))
    (folder / f"{stem}.bvec").write_bytes(rng.choice((b"", b"x", b"1 0 0\n0 1 0\n0 0 1\n", bytes(99))))
    image.unlink()
    return "either"


def labels(image: Path, rng: random.Random) -> Expected:
    """Disc labels that are none: the image must be measured all the same."""
    root = image.parents[2]
    name = image.name.replace(".nii.gz", "_label-discs_dlabel.nii.gz")
    path = root / "derivatives" / "labels" / image.parent.relative_to(root) / name
    cord = cord_image(SHAPE, RADIUS_MM)
    wild = np.random.default_rng(rng.randrange(2**32))
    values: tuple[Any, ...] = (
        cord,
        wild.random(SHAPE, np.float32) * 1e30,
        wild.integers(-99, 99, SHAPE).astype(np.int16),
        -cord,
        np.stack([cord, cord], -1),
        cord * np.nan,
        np.full(SHAPE, 3, np.uint8),
        np.eye(14)[..., None] * np.arange(16),
        np.ones((5, 5, 5)) * np.arange(5),
    )
    write_image(path, rng.choice(values))
    if rng.random() < 0.3:
        compressed_bytes(path, rng)
    return "measured"


MUTATIONS: tuple[tuple[Mutation, int], ...] = (
    (header_field, 6),
    (header_bytes, 4),
    (header_extension, 1),
    (compressed_bytes, 2),
    (bomb, 1),
    (too_large, 1),
    (no_image, 2),
    (other_voxels, 1),
    (wrong_voxels, 2),
    (sidecar, 4),
    (file_name, 4),
    (folder_name, 2),
    (series, 2),
    (labels, 2),
)
