"""The three passes: every scan, then every session over whatever finished, then every page.

A unit (one scan, one session, one page) is a chain of nodes of its own and units never depend
on one another within a pass, so a failed one costs nobody else anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nipype.pipeline.engine import Node, Workflow

from softseg_bids.app import interfaces
from softseg_bids.app.identity import torch_knows_cuda
from softseg_bids.app.jobs import ScanJob, SessionJob, stamp
from softseg_bids.app.kept import is_joined
from softseg_bids.app.settings import Settings
from softseg_bids.image.volume import DataError, count_volumes, read_grid

SCAN_STEPS = ("conform", "segment", "trace", "find", "save")
SESSION_STEPS = ("label", "measure", "summarise", "draw")
PAGE_STEPS = ("page",)

# Most memory of a step (GiB): what bench/memory.py measured over image sizes (docs/clusters.md has the
# figures), with half as much again for other libraries and more threads: a worker with everything
# loaded, and what an image's voxels add. The network's windows are of one size, and the locator's grid
# is so coarse that the field of view does not show.
NETWORK_GB = 0.7
NETWORK_GB_PER_MILLION_VOXELS = 0.022
LIGHT_GB = 0.5
LIGHT_GB_PER_MILLION_VOXELS = 0.02
ACCELERATOR = Path("/dev/nvidiactl")


def scan_workflow(jobs: Mapping[str, ScanJob], model: Path, settings: Settings, base: Path) -> Workflow:
    """Pass 1: conform -> segment -> trace -> find -> save for each scan.

    Parameters
    ----------
    jobs : mapping of str to ScanJob
        By unit name.
    model : Path
        The checkpoint.
    settings : Settings
    base : Path
        The pass's folder; its name is the workflow's.
    """
    workflow = Workflow(name=base.name, base_dir=str(base.parent))
    for name, job in jobs.items():
        scan = job.scan
        light = light_memory_gb(scan.paths)
        together = light_memory_gb(scan.paths, combined=True) if scan.combine != "single" else light
        conform = Node(interfaces.Conform(), name="conform", mem_gb=together)
        conform.inputs.trait_set(
            sources=[str(path) for path in scan.paths],
            stamps=[stamp(path) for path in (*scan.paths, scan.bval)],
            combine=scan.combine,
            bval=str(scan.bval or ""),
        )
        segment = Node(
            interfaces.Segment(),
            name="segment",
            mem_gb=network_memory_gb(scan.paths[0]),
            n_procs=network_processors(settings),
        )
        segment.inputs.trait_set(
            model=str(model),
            model_hash=job.model_hash,
            device=settings.device,
            stored=[job.outputs["model"], job.outputs["probseg"]],
        )
        trace = Node(interfaces.Trace(), name="trace", mem_gb=light)
        trace.inputs.trait_set(corrected=str(scan.corrected or ""), stamp=stamp(scan.corrected))
        find = Node(
            interfaces.Find(),
            name="find",
            mem_gb=network_memory_gb(scan.paths[0]),
            n_procs=network_processors(settings),
        )
        find.inputs.trait_set(model=str(model), device=settings.device)
        save = Node(interfaces.Save(), name="save", mem_gb=light)
        save.inputs.trait_set(job=job.as_json())
        chain = Workflow(name=name)
        chain.connect(
            [
                (conform, segment, [("image", "image"), ("checksum", "checksum")]),
                (conform, trace, [("image", "image")]),
                (segment, trace, [("soft", "soft")]),
                (conform, save, [("image", "image"), ("checksum", "checksum")]),
                (segment, save, [("soft", "model_soft")]),
                (conform, find, [("image", "image")]),
                (trace, find, [("line", "line")]),
                (trace, save, [("soft", "soft"), ("line", "line")]),
                (find, save, [("sight", "sight")]),
            ]
        )
        _add(workflow, chain, base)
    return workflow


def session_workflow(jobs: Mapping[str, tuple[SessionJob, list[Path]]], base: Path) -> Workflow:
    """Pass 2: label -> measure -> summarise -> draw for each session, given its scans' records."""
    workflow = Workflow(name=base.name, base_dir=str(base.parent))
    for name, (job, records) in jobs.items():
        files = [str(path) for path in records]
        light = light_memory_gb(images_of(records))
        label = Node(interfaces.Label(), name="label", mem_gb=light)
        label.inputs.trait_set(records=files, stamps=[stamp(path) for path in label_files(records)])
        measure = Node(interfaces.Measure(), name="measure", mem_gb=light)
        measure.inputs.trait_set(records=files)
        summarise = Node(interfaces.Summarise(), name="summarise", mem_gb=light)
        summarise.inputs.trait_set(records=files, job=job.as_json())
        draw = Node(interfaces.Draw(), name="draw", mem_gb=light)
        draw.inputs.trait_set(records=files, job=job.as_json())
        if not job.elsewhere and is_joined(Path(job.outputs["table"])):
            # Runs of a part of the session have written there since; nipype knows nothing of OUT.
            summarise.overwrite = draw.overwrite = True
        chain = Workflow(name=name)
        chain.connect(
            [
                (label, measure, [("labels", "labels")]),
                (label, summarise, [("labels", "labels")]),
                (measure, summarise, [("slices", "slices")]),
                (label, draw, [("labels", "labels")]),
                (measure, draw, [("slices", "slices")]),
                (summarise, draw, [("regions", "regions")]),
            ]
        )
        _add(workflow, chain, base)
    return workflow


def page_workflow(pages: Mapping[str, dict[str, Any]], base: Path) -> Workflow:
    """Pass 3: one page a participant, from OUT alone."""
    workflow = Workflow(name=base.name, base_dir=str(base.parent))
    for name, inputs in pages.items():
        page = Node(interfaces.Page(), name="page", mem_gb=LIGHT_GB)
        page.inputs.trait_set(**inputs)
        page.overwrite = True  # it reads OUT, of which nipype knows nothing
        chain = Workflow(name=name)
        chain.add_nodes([page])
        workflow.add_nodes([chain])
    return workflow


def label_files(records: Iterable[Path]) -> list[Path]:
    """The disc label files that records name."""
    scans = [json.loads(path.read_text(encoding="utf-8"))["job"]["scan"] for path in records]
    return [Path(scan[name]) for scan in scans for name in ("discs", "landmarks") if scan.get(name)]


def images_of(records: Iterable[Path]) -> list[Path]:
    """The images that records are about."""
    return [Path(json.loads(path.read_text(encoding="utf-8"))["image"]) for path in records]


def declared_gb(voxels: float) -> float:
    """Memory (GiB) of a process that segments an image of so many million voxels."""
    return NETWORK_GB + NETWORK_GB_PER_MILLION_VOXELS * voxels


def network_memory_gb(image: Path) -> float:
    """Memory (GiB) of a process that segments an image, from its header."""
    return declared_gb(_million_voxels(image, all_volumes=False))


def light_memory_gb(images: Iterable[Path], combined: bool = False) -> float:
    """Memory (GiB) of any other step, from the header of the largest image.

    Parameters
    ----------
    images : iterable of Path
    combined : bool
        Whether all volumes of all images are held together, as when they are combined.
    """
    sizes = [_million_voxels(path, combined) for path in images]
    return LIGHT_GB + LIGHT_GB_PER_MILLION_VOXELS * (sum(sizes) if combined else max(sizes, default=0.0))


def _million_voxels(path: Path, all_volumes: bool) -> float:
    try:
        volumes = count_volumes(path) if all_volumes else 1
        return volumes * float(np.prod(read_grid(path).shape)) / 1e6
    except DataError:
        return 0.0


def network_processors(settings: Settings) -> int:
    """Processors a segmentation occupies: its threads, or all where one accelerator is shared."""
    accelerated = settings.device.startswith("cuda") or (
        settings.device == "auto" and ACCELERATOR.exists() and torch_knows_cuda()
    )
    return settings.nprocs if accelerated else min(settings.omp_nthreads, settings.nprocs)


def _add(workflow: Workflow, chain: Workflow, base: Path) -> None:
    """Add a unit; what an earlier run computed but somebody removed since is computed again."""
    for node in chain._graph.nodes():
        listing = base / chain.name / node.name / interfaces.FILES
        if listing.is_file() and not _all_there(listing):
            node.overwrite = True
    workflow.add_nodes([chain])


def _all_there(listing: Path) -> bool:
    """Whether all files of a list exist; a list that cannot be read tells of a step that was cut short."""
    try:
        return all(Path(path).exists() for path in json.loads(listing.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False
