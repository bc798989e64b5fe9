"""The participant's page: one HTML file that needs nothing beside it and asks no network.

The dataclasses say what the page shows; whoever fills them has read everything from
tables, sidecars and figures before. Names from a dataset are text, never markup.
"""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import Environment

from softseg_bids.image.volume import written_aside
from softseg_bids.pages.curves import colour
from softseg_bids.pages.group_tables import FLAGS
from softseg_bids.pages.html import pages_environment
from softseg_bids.pages.layers import Layers


@dataclass(frozen=True)
class Correction:
    """How a reader opens an image with its mask, and where a corrected mask belongs.

    Attributes
    ----------
    image : str
        Path of the source image in the dataset.
    mask, soft : str
        Paths of its binary mask and its soft mask in OUT.
    save_as : str
        Where to save the corrected binary mask, relative to the folder of corrections
        (``sub-01/anat/sub-01_T2w_label-SC_seg.nii.gz``).
    folder : str
        The folder of corrections, for ``--derivatives corrected=...``.
    """

    image: str
    mask: str
    soft: str
    save_as: str
    folder: str = "PATH"

    @property
    def fsleyes(self) -> str:
        """Command line that opens image, soft mask (hot, half transparent) and binary mask in FSLeyes."""
        soft, mask = _below("OUTPUT_DIR", self.soft), _below("OUTPUT_DIR", self.mask)
        image = _below("BIDS_DIR", self.image)
        return f"fsleyes {image} {soft} -dr 0 1 -cm hot -a 50 {mask} -cm red -a 40"

    @property
    def itksnap(self) -> str:
        """Command line that opens the image with the binary mask as segmentation in ITK-SNAP."""
        image, mask = _below("BIDS_DIR", self.image), _below("OUTPUT_DIR", self.mask)
        return f"itksnap -g {image} -s {mask}"

    @property
    def option(self) -> str:
        """The option to run again with."""
        return f"--derivatives {shlex.quote('corrected=' + self.folder)}"


@dataclass(frozen=True)
class ImageCard:
    """One image and what was found in it.

    Attributes
    ----------
    key : str
        Unique within the session; names the column of the region table and the card's anchor.
    contrast : str
        Contrast key (``T2w``, ``MTon``, ...).
    source : str
        The image's path in the dataset.
    plane : str
        ``ax``, ``sag``, ``cor`` or ``iso``.
    voxel_mm : tuple of float
        Voxel size in the canonical order RL, AP, SI.
    status : str
        ``measured`` or ``no_cord``.
    montage, sagittal : Layers or None
        Figures of a measured image.
    overview : Path or None
        Figure of an image without cord.
    csa_fit, gradient_correction, mask_source, levels_source, angle_source, model_hash : str
        As the columns of the tables; ``n/a`` where unknown.
    isocentre_offset_mm : float or None
        Greatest distance of the measured cord from the isocentre.
    edited : int or None
        Number of slices changed by a corrected mask, None without one.
    flags : sequence of str
        Flags of the whole image.
    slice_flags : mapping of str to int
        How many slices carry each flag.
    correction : Correction or None
        Paths for opening and correcting; None where there is no mask.
    repeat : str
        What tells images of one contrast apart (``acq-full run-2``), else empty.
    """

    key: str
    contrast: str
    source: str
    plane: str
    voxel_mm: tuple[float, float, float]
    status: str = "measured"
    montage: Layers | None = None
    sagittal: Layers | None = None
    overview: Path | None = None
    csa_fit: str = "n/a"
    gradient_correction: str = "n/a"
    isocentre_offset_mm: float | None = None
    mask_source: str = "model"
    edited: int | None = None
    levels_source: str = "none"
    angle_source: str = "n/a"
    model_hash: str = "n/a"
    flags: Sequence[str] = ()
    slice_flags: Mapping[str, int] = field(default_factory=dict)
    correction: Correction | None = None
    repeat: str = ""


@dataclass(frozen=True)
class RegionCell:
    """One row of the region table: one image in one region.

    Attributes
    ----------
    region : str
        ``cord``, ``common``, ``vert-C3``, ... ; regions appear in the order of first mention.
    image : str
        :attr:`ImageCard.key` of the image.
    area_mm2, area_binary_mm2, area_sd_mm2 : float or None
        CSA from the soft and the binary mask, SD over the slices; None is shown as n/a.
    coverage : float or None
        Measured part of the region, 0 to 1.
    flags : sequence of str
        Flags of this row.
    """

    region: str
    image: str
    area_mm2: float | None
    area_binary_mm2: float | None = None
    area_sd_mm2: float | None = None
    coverage: float | None = None
    flags: Sequence[str] = ()


@dataclass(frozen=True)
class SessionBlock:
    """One session.

    Attributes
    ----------
    label : str
        Session label without ``ses-``; empty where the dataset has no sessions.
    images : sequence of ImageCard
        In the order of display.
    cells : sequence of RegionCell
        The region table, long; the page turns it into regions x images.
    curves : Path or None
        SVG of :func:`softseg_bids.pages.curves.draw`.
    notes : sequence of str
        Sentences about the session: where levels come from, an image left out of ``common`` and why.
    """

    label: str
    images: Sequence[ImageCard] = ()
    cells: Sequence[RegionCell] = ()
    curves: Path | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Exclusion:
    """A file that has no measurement, and why.

    Attributes
    ----------
    source : str
        Path in the dataset.
    reason : str
        A sentence the user can act on.
    failed : bool
        True if it was chosen and went wrong, False if it was left out on purpose.
    """

    source: str
    reason: str
    failed: bool = False


@dataclass(frozen=True)
class SubjectPage:
    """Everything on a participant's page.

    Attributes
    ----------
    participant : str
        Label without ``sub-``.
    dataset : str
        The dataset's name.
    sessions : sequence of SessionBlock
    exclusions : sequence of Exclusion
        Left out and failed files of this participant.
    facts : mapping of str to str
        The participant's row (age, sex, site, ...), shown as given.
    version : str
        Version of softseg-bids.
    model_hash : str
        Digest of the checkpoint.
    versions : mapping of str to str
        Versions of the libraries that touch a number (torch, numpy, ...).
    command : str
        The command line of the run, if known.
    bids, out : str
        The dataset and OUT, as the run saw them: what the commands' variables are set to.
    """

    participant: str
    dataset: str
    sessions: Sequence[SessionBlock]
    exclusions: Sequence[Exclusion] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    version: str = "n/a"
    model_hash: str = "n/a"
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    bids: str = ""
    out: str = ""

    @property
    def can_be_opened(self) -> bool:
        """Whether there is a mask that a command on the page opens."""
        return any(image.correction for session in self.sessions for image in session.images)

    @property
    def folders(self) -> str:
        """Lines for a shell: where the images and masks of all commands on the page lie."""
        return f"BIDS_DIR={shlex.quote(self.bids)}\nOUTPUT_DIR={shlex.quote(self.out)}"


def subject_page(page: SubjectPage, path: Path) -> Path:
    """Write the participant's page.

    Parameters
    ----------
    page : SubjectPage
        What to show; the figures it names are embedded.
    path : Path
        Destination (``sub-01.html``); appears whole or not at all.

    Raises
    ------
    FileNotFoundError
        If a figure is missing.
    """
    html = _environment().get_template("subject.html").render(page=page, table=region_table)
    with written_aside(path) as aside:
        aside.write_text(html, encoding="utf-8", errors="backslashreplace")
    return path


@cache
def _environment() -> Environment:
    """Kept, because it keeps the template: reading that takes longer than filling it in."""
    environment = pages_environment()
    environment.filters |= {
        "colour": colour,
        "counts": counts,
        "data_uri": data_uri,
        "meaning": meaning,
        "number": number,
        "percent": percent,
        "voxel": voxel,
    }
    return environment


def _below(variable: str, path: str) -> str:
    """A path in a folder that a variable of the shell names: nobody but its owner knows where it lies."""
    return f'"${variable}"/{shlex.quote(path)}'


def region_table(session: SessionBlock) -> dict[str, dict[str, RegionCell]]:
    """The cells of a session by region (in the order of first mention), then by image key."""
    table: dict[str, dict[str, RegionCell]] = {}
    for cell in session.cells:
        table.setdefault(cell.region, {})[cell.image] = cell
    return table


def data_uri(path: Path) -> str:
    """A PNG or SVG file as a data URI."""
    kind = {".png": "image/png", ".svg": "image/svg+xml"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def number(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number with fixed decimals and its unit, or n/a (also for NaN)."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.{digits}f}{unit}"


def meaning(flag: str) -> str:
    """What a flag means, empty for a stranger's."""
    return FLAGS[flag].meaning if flag in FLAGS else ""


def percent(part: float | None) -> str:
    """A part of one in whole percent, or n/a; rounded down, so that 100 % means all."""
    return "n/a" if part is None or math.isnan(part) else f"{math.floor(100 * part + 1e-6)} %"


def voxel(spacing_mm: Sequence[float]) -> str:
    """A voxel size: ``0.5 × 0.5 × 5 mm``."""
    return " × ".join(f"{size:.3g}" for size in spacing_mm) + " mm"


def counts(numbers: Mapping[str, int]) -> str:
    """Flags and how many slices have them: ``partial 2, jump 1``."""
    return ", ".join(f"{name} {count}" for name, count in numbers.items())
