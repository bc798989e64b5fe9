"""Spoiled datasets: a clear sentence or a right result; never a traceback, a hang, or a file elsewhere."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faults.bodies import cord_image, write_image
from faults.lab import Lab, Outcome
from faults.mutations import MUTATIONS, NASTY, RADIUS_MM, SHAPE, Expected, header_bytes, header_field
from faults.runs import Process, forked, manifests
from faults.whole import half_written

BATCH = 25
SOUND = "sound"  # the participant whom nobody touched
HANGS_S = 1800.0
Spoiled = dict[str, tuple[str, Expected]]  # by participant: the mutation, and what to expect


def datasets(lab: Lab, rounds: int) -> Outcome:
    """One spoiled participant each, in datasets of up to 25."""
    outcome = Outcome(
        "Spoiled images, sidecars, names, b-values and labels",
        "one a participant, drawn with a seed: a right result, or a sentence in the manifest that names the "
        "file; no traceback, no hang; the dataset and all but OUT untouched",
    )
    rng = random.Random(lab.seed + 1)
    for first in range(0, rounds, BATCH):
        root = lab.folder / f"fuzz-{first}"
        spoiled = _spoil(root, min(BATCH, rounds - first), first, rng)
        lab.clear()
        _places(lab)
        before = _everything(lab.folder, lab.out)
        argv = [root, lab.out, "participant", "--model", lab.model, "--nprocs", 1, "--mem", "4G"]
        run = _run(lab, argv)
        found = _verdicts(lab.out, spoiled, run)
        changed = _differences(before, _everything(lab.folder, lab.out), run)
        general = _general(lab, run, (0, 1, 65)) + changed
        for label, (what, _) in spoiled.items():
            outcome.note([f"{what}: {it}" for it in found.get(label, [])])
        if general:
            outcome.spoiled = min(outcome.injected, outcome.spoiled + 1)
            outcome.problems += general
        wrong = [*general, *(it for each in found.values() for it in each)]
        lab.say(f"spoiled {first + len(spoiled)}/{rounds}: {'; '.join(wrong) or 'survived'}")
        shutil.rmtree(root)
    return outcome


def _places(lab: Lab) -> dict[str, Path]:
    """Folders where a program may leave things unasked: empty, and watched."""
    places = {name: lab.folder / "elsewhere" / name for name in ("cwd", "home", "tmp")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    return places


def _run(lab: Lab, argv: Sequence[object]) -> Process:
    """A run with these folders as its own."""
    places = _places(lab)
    home = str(places["home"])
    others = {"XDG_CACHE_HOME": f"{home}/.cache", "XDG_CONFIG_HOME": f"{home}/.config"}
    return forked(argv, lab.log(), at=places["cwd"], HOME=home, TMPDIR=str(places["tmp"]), **others)


def _left(lab: Lab) -> list[str]:
    """What a run left in these folders; they are emptied for the next one."""
    found = [str(path) for place in _places(lab).values() for path in sorted(place.rglob("*"))]
    shutil.rmtree(lab.folder / "elsewhere")
    return [f"left where nobody asked for it: {path}" for path in found]


def _spoil(root: Path, count: int, first: int, rng: random.Random) -> Spoiled:
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "spoiled", "BIDSVersion": "1.11.1"}')
    kinds = [kind for kind, weight in MUTATIONS for _ in range(weight)]
    spoiled: Spoiled = {}
    write_image(_image(root, SOUND), cord_image(SHAPE, RADIUS_MM))
    for number in range(first, first + count):
        label = f"m{number:04d}"
        image = write_image(_image(root, label), cord_image(SHAPE, RADIUS_MM))
        # The first ones in turn, so that a few rounds already meet every kind.
        mutation = MUTATIONS[number][0] if number < len(MUTATIONS) else rng.choice(kinds)
        spoiled[label] = mutation.__name__, mutation(image, rng)
    return spoiled


def _image(root: Path, label: str) -> Path:
    return root / f"sub-{label}" / "anat" / f"sub-{label}_T2w.nii.gz"


def _verdicts(out: Path, spoiled: Spoiled, run: Process) -> dict[str, list[str]]:
    """What is wrong with each participant's outcome."""
    try:
        run.wait(HANGS_S)
    except TimeoutError as error:
        return {label: [f"a hang: {error}"] for label in spoiled}
    found = manifests(out)
    if not found:
        return {label: [f"no manifest: {run.said()[-500:]}"] for label in spoiled}
    inputs = found[-1]["inputs"]
    wanted = _area(out, SOUND)
    verdicts = {}
    for label, (_, expected) in spoiled.items():
        mine = [entry for entry in inputs if label in entry["input"]]
        verdicts[label] = [it for entry in mine for it in _wrong_entry(entry)]
        measured = [entry for entry in mine if entry["status"] in ("measured", "no_cord")]
        if expected == "refused" and measured:
            verdicts[label].append(f"measured, though it is none: {measured}")
        if expected == "measured" and (area := _area(out, label)) != wanted:
            verdicts[label].append(f"its area is {area}, not {wanted}: {mine}")
    return verdicts


def _wrong_entry(entry: Mapping[str, Any]) -> list[str]:
    reason = entry["reason"]
    if entry["status"] in ("measured", "no_cord"):
        return []
    if entry["status"] not in ("failed", "left out") or not reason.strip():
        return [f"no reason: {entry}"]
    unclear = (
        "unexpected" in reason or "Traceback" in reason or (entry["status"] == "failed" and "\n" in reason)
    )
    unnamed = entry["status"] == "failed" and "/" not in reason
    return [f"an unclear reason: {entry}"] if unclear or unnamed else []


def _area(out: Path, label: str) -> str | None:
    """Mean area of the whole cord, as the session's table says it."""
    tables = sorted((out / f"sub-{label}").glob("*/*_desc-session_morph.tsv"))
    if not tables:
        return None
    with tables[0].open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["region"] == "cord"]
    return rows[0]["area_mm2"] if rows else None


def _general(lab: Lab, run: Process, codes: Sequence[int]) -> list[str]:
    """What is wrong with a run as a whole."""
    problems = [] if run.code in codes else [f"exit code {run.code}: {run.said()[-800:]}"]
    if "Traceback" in run.said() or "unexpected " in run.said():
        problems.append(f"unexpected: {run.said()[-1500:]}")
    return problems + _left(lab) + half_written(lab.out)


def _everything(folder: Path, but: Path) -> dict[str, str]:
    """Kind, size and content of all that lies in a folder, but for OUT and what runs said."""
    found = {}
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(where, name) != but]
        for path in (Path(where, name) for name in (*folders, *files) if not name.startswith("said-")):
            status = path.lstat()
            regular = stat.S_ISREG(status.st_mode)
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if regular else ""
            found[str(path)] = f"{status.st_mode:o} {digest}"
    return found


def _differences(before: Mapping[str, str], after: Mapping[str, str], run: Process) -> list[str]:
    names = sorted({*before, *after})
    changed = [name for name in names if before.get(name) != after.get(name)]
    return [f"a write outside OUT: {changed} {run.said()[-300:]}"] if changed else []


TABLES: tuple[bytes, ...] = (
    b"",
    b"\n\n\n",
    b"participant_id",
    b"\t\t\t\n\t\t",
    bytes(range(256)),
    b"participant_id\tage\nsub-sound\n",
    b"participant_id\tage\nsub-sound\t30\t40\t50\n",
    b"age\n30\n",
    b"\xff\xfe" + "participant_id\tage\nsub-sound\t3\n".encode("utf-16-le"),
    b"\xef\xbb\xbfparticipant_id\tage\r\nsub-sound\t30\r\n",
    "participant_id\tstadt\nsub-sound\tZürich\n".encode("latin-1"),
    f"participant_id\tnote\nsub-sound\t{NASTY.strip()}\n".encode(),
    b"participant_id\tparticipant_id\nsub-sound\tsub-sound\n",
    b"participant_id\t" + b"x" * 100_000 + b"\nsub-sound\t1\n",
    b"participant_id\n" + b"sub-sound\n" * 50_000,
    b"participant_id\t<script>alert(1)</script>\nsub-sound\t<img src=x onerror=alert(1)>\n",
    b"participant_id\tcord_T2w\tregion\nsub-sound\t=1+1\t@x\n",
    b"participant_id\ta\0b\nsub-sound\t\0\1\2\n",
    "participant_id\tage\nsub-sound\t\u2028\u0085\u202e\n".encode(),
    b"participant_id\tsite\nsub-sound\t\xf0\x9f\x98\n",
)
DESCRIPTIONS: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"{}",
    bytes(range(256)),
    b"[" * 100_000,
    b'{"Name": null}',
    b'{"Name": {"a": 1}}',
    json.dumps({"Name": NASTY}).encode(),
    b'{"Name": "\\ud800"}',
    '{"Name": "Zürich"}'.encode("latin-1"),
    '{"Name": "x"}'.encode("utf-16"),
    b'{"Name": "x", "GeneratedBy": 3}',
    b'{"DatasetType": "derivative"}',
    b'{"BIDSVersion": [1]}',
)
CONTRASTS: tuple[bytes, ...] = (
    b"",
    b"file\n",
    b"file\tcontrast\n*\t<script>\n",
    b"file\tcontrast\n[[[\tT2w\n",
    b"pattern\tcontrast\n*\tT2w\n",
    bytes(range(256)),
    b"file\tcontrast\nsub-sound_T2w\tn/a\n",
    b"contrast\nT2w\n",
    b"file\tcontrast\n\tT2w\n",
)
FILTERS: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b'{"T2w": 3}',
    b'{"x": {"y": 1}}',
    b'{"T2w": {"acquisition": null}}',
    bytes(range(256)),
    b'{"T2w": {"acquisition": "((((", "regex_search": true}}',
    b'{"T2w": {"subject": {"a": 1}}}',
    b"[" * 100_000,
    b'{"T2w": {"acquisition": ["*", null, 3]}}',
)
SPOILT = (
    ("participants.tsv", TABLES), ("dataset_description.json", DESCRIPTIONS), ("contrasts.tsv", CONTRASTS),
    ("filter.json", FILTERS), ("sub-sound/sub-sound_sessions.tsv", TABLES), ("T2w.json", DESCRIPTIONS),
)  # fmt: skip


def tables(lab: Lab, rounds: int) -> Outcome:
    """Spoiled tables and descriptions of a dataset of one sound image."""
    outcome = Outcome(
        "Spoiled participants.tsv, dataset_description.json and other files of the dataset",
        "also encodings, markup, and names of columns: the same area, or one sentence that names the file; "
        "no markup in the page",
    )
    rng = random.Random(lab.seed + 2)
    root = lab.folder / "tables"
    write_image(_image(root, SOUND), cord_image(SHAPE, RADIUS_MM))
    every = [(name, content) for name, contents in SPOILT for content in contents]
    chosen = every if rounds >= len(every) else rng.sample(every, rounds)
    lab.clear()
    area: str | None = None
    for name, content in chosen:
        path = root / name
        path.write_bytes(content)
        more = ["--bids-filter-file", path] if name == "filter.json" else []
        argv = [root, lab.out, "participant", "--model", lab.model, "--nprocs", 1, "--mem", "4G", *more]
        run = _run(lab, argv)
        run.wait(HANGS_S)
        problems = _general(lab, run, (0, 18, 64, 66))
        if run.code:
            problems += [] if str(root) in run.said() or name in run.said() else [f"unnamed: {run.said()}"]
        else:
            area = area or _area(lab.out, SOUND)
            problems += [] if area and _area(lab.out, SOUND) == area else ["another area"]
            problems += _markup(lab.out / f"sub-{SOUND}.html")
        problems = [f"{name} {content[:60]!r}: {it}" for it in problems]
        outcome.note(problems)
        lab.say(f"{name} {content[:30]!r}: {'; '.join(problems) or 'survived'}")
        path.unlink()
    shutil.rmtree(root)
    return outcome


def _markup(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [f"markup: {it}" for it in ("<script>alert", "<img src=x") if it in text]


def lone_images(lab: Lab, rounds: int) -> Outcome:
    """Spoiled headers given to the command for one image."""
    outcome = Outcome(
        "Spoiled headers of a lone image", "`softseg IMAGE -o DIR`: masks and tables, or one sentence and 65"
    )
    rng = random.Random(lab.seed + 3)
    for number in range(rounds):
        lab.clear()
        image = write_image(lab.folder / "lone" / "image.nii.gz", cord_image(SHAPE, RADIUS_MM))
        (header_field, header_bytes)[number % 2](image, rng)
        argv = [image, "-o", lab.out, "--model", lab.model, "--omp-nthreads", 1]
        run = _run(lab, argv)
        run.wait(HANGS_S)
        problems = _general(lab, run, (0, 65))
        said = [line for line in run.said().splitlines() if line.startswith("softseg:")]
        if run.code and (len(said) != 1 or str(image) not in said[0]):
            problems.append(f"no single sentence that names it: {run.said()}")
        outcome.note(problems)
        lab.say(f"lone image {number + 1}/{rounds}: {'; '.join(problems) or 'survived'}")
    shutil.rmtree(lab.folder / "lone", ignore_errors=True)
    return outcome
