"""Which of several files stands for one acquisition.

Echoes of one acquisition become one scan; a supplied mean of a diffusion series is preferred to
the series, and an image corrected for gradient non-linearity to its uncorrected twin.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace

from softseg_bids.bids.dataset import LeftOut, Scan
from softseg_bids.bids.names import parse_name
from softseg_bids.bids.sidecars import gradient_token

Chosen = tuple[list[Scan], list[LeftOut]]

_GRADIENT_RANK = {"3D": 2, "2D": 1, "none": 0}


def join_echoes(scans: Iterable[Scan]) -> list[Scan]:
    """One scan for the split echoes of an acquisition, in the order of the echoes.

    Its stem is without ``echo-``, its metadata are those of the first echo.
    """
    joined = []
    for group in _grouped(scans, lambda scan: (*_place(scan), _without_echo(scan), scan.suffix)):
        echoes = sorted(group, key=_echo_number)
        if len(echoes) == 1 or "echo" not in echoes[0].entities:
            joined += echoes
            continue
        paths = tuple(path for echo in echoes for path in echo.paths)
        entities = {key: label for key, label in echoes[0].entities.items() if key != "echo"}
        stem = _without_echo(echoes[0])
        joined.append(replace(echoes[0], paths=paths, stem=stem, entities=entities, combine="echoes"))
    return joined


def prefer_means(scans: Iterable[Scan]) -> Chosen:
    """Of each diffusion acquisition: the supplied mean, else the motion-corrected series, else the series."""
    kept: list[Scan] = []
    left_out: list[LeftOut] = []
    for group in _grouped(scans, _diffusion_acquisition):
        if group[0].contrast != "DWI":
            kept += group
            continue
        best = max(map(_diffusion_rank, group))
        chosen = [scan for scan in group if _diffusion_rank(scan) == best]
        kept += chosen
        for scan in group:
            if scan not in chosen:
                what = "mean" if best == 2 else "motion-corrected series"
                left_out += leave_out(scan, f"the supplied {what} {chosen[0].paths[0].name} is used instead")
    return kept, left_out


def prefer_corrected(scans: Iterable[Scan]) -> Chosen:
    """Of images stored with and without gradient non-linearity correction, the corrected one."""
    kept = []
    left_out: list[LeftOut] = []
    for group in _grouped(scans, lambda scan: (*_place(scan), scan.contrast)):
        for scan in group:
            better = next((other for other in group if _is_corrected_twin(other, scan)), None)
            if better is None:
                kept.append(scan)
            else:
                left_out += leave_out(
                    scan,
                    f"gradient correction {scan.gradient_correction}: "
                    f"its corrected duplicate {better.paths[0].name} ({better.gradient_correction}) is used",
                )
    return kept, left_out


def refuse_collisions(scans: Iterable[Scan]) -> Chosen:
    """Leave out scans whose outputs would overwrite those of another one."""
    kept = []
    left_out: list[LeftOut] = []
    for group in _grouped(scans, lambda scan: (*_place(scan), scan.stem, scan.contrast)):
        # Of .nii.gz and .nii the compressed one: it is the one BIDS tools write.
        first, *others = sorted(group, key=lambda scan: (not scan.relative.endswith(".gz"), scan.relative))
        kept.append(first)
        for scan in others:
            reason = f"would have the same output names as {first.paths[0].name}; rename one of them"
            left_out += leave_out(scan, reason)
    return kept, left_out


def leave_out(scan: Scan, reason: str) -> list[LeftOut]:
    """The ledger's entries for all files of a scan."""
    return [LeftOut(path, reason, scan.participant, scan.session) for path in scan.paths]


def _grouped(scans: Iterable[Scan], key: Callable[[Scan], Hashable]) -> list[list[Scan]]:
    groups: dict[Hashable, list[Scan]] = defaultdict(list)
    for scan in scans:
        groups[key(scan)].append(scan)
    return list(groups.values())


def _place(scan: Scan) -> tuple[str, str | None, str]:
    """The scan's folder."""
    return scan.participant, scan.session, scan.datatype


def _without_echo(scan: Scan) -> str:
    return "_".join(f"{key}-{label}" for key, label in scan.entities.items() if key != "echo")


def _echo_number(scan: Scan) -> int:
    echo = scan.entities.get("echo", "0")
    return int(echo) if echo.isdigit() else 0


def _diffusion_acquisition(scan: Scan) -> Hashable:
    """Equal for a diffusion series and for what was computed from it, which differs in ``rec-``."""
    if scan.contrast != "DWI":
        return scan.relative
    return *_place(scan), tuple((key, label) for key, label in scan.entities.items() if key != "rec")


def _diffusion_rank(scan: Scan) -> int:
    if scan.combine == "single":
        return 2
    words = [scan.rec or "", *parse_name(scan.paths[0]).stray]
    return 1 if any("moco" in word.casefold() for word in words) else 0


def _is_corrected_twin(other: Scan, scan: Scan) -> bool:
    """Whether ``other`` is ``scan``'s acquisition with more of its distortion taken out.

    Duplicates share their acquisition time; without one in both sidecars, they are those whose
    names differ by nothing but ND, DIS2D or DIS3D. Repeats are not duplicates.
    """
    more = _GRADIENT_RANK.get(other.gradient_correction, -1)
    less = _GRADIENT_RANK.get(scan.gradient_correction, -1)
    if less < 0 or more <= less:
        return False
    times = [each.metadata.get("AcquisitionTime") for each in (other, scan)]
    if None not in times:
        free = ("acq", "rec", "run")
        return times[0] == times[1] and _bare_entities(other, free) == _bare_entities(scan, free)
    return _bare_entities(other) == _bare_entities(scan)


def _bare_entities(scan: Scan, without: tuple[str, ...] = ()) -> dict[str, str]:
    bare = {}
    for key, label in scan.entities.items():
        stripped = label.removesuffix(gradient_token(label)) if key in ("acq", "rec") else label
        if stripped and key not in without:
            bare[key] = stripped
    return bare
