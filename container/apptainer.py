"""Singularity.def's image, built and run by an Apptainer in a tree of Debian."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from container.conditions import Mounts
from container.debian import make_tree, mirror, unpack
from container.podman import PYTHON, pip_mounts
from container.processes import run, unmount_below

ENTER = Path(__file__).parent / "enter.sh"
SUITE, WITH_APPTAINER = "trixie", "sid"  # Debian carries Apptainer in its unstable suite only
STRICT = ("--cleanenv", "--containall", "--net", "--network", "none")
NAME, UID = "caller", 1000  # Apptainer wants its caller to have a name


@dataclass(frozen=True)
class Apptainer:
    """Apptainer in a tree of Debian that only its own processes see.

    Attributes
    ----------
    shared : Path
        Folder of the check, which stands at the same place inside the tree.
    sif : bool
        Whether the image is a single file; else a folder, a sandbox, which takes a third of the time.
    """

    shared: Path
    sif: bool

    @property
    def folder(self) -> Path:
        """For the tree and the image."""
        return self.shared / "apptainer"

    @property
    def tree(self) -> Path:
        """The tree of Debian."""
        return self.folder / SUITE

    @property
    def temporary(self) -> Path:
        """Where a SIF file is unpacked, by whoever runs it, as nothing can be mounted from one here."""
        return self.folder / "tmp"

    @property
    def image(self) -> Path:
        """The image."""
        return self.folder / ("softseg.sif" if self.sif else "softseg")

    def set_up(self) -> None:
        """Make the tree and install Apptainer into it."""
        self.folder.mkdir()
        self.temporary.mkdir()
        self.temporary.chmod(0o1777)
        make_tree(SUITE, self.tree, include="ca-certificates")
        for name in ("resolv.conf", "hosts"):
            shutil.copy(Path("/etc", name), self.tree / "etc" / name)
        (self.tree / "etc/apt/sources.list.d/unstable.list").write_text(
            f"deb {mirror()} {WITH_APPTAINER} main\n"
        )
        # An index of the unstable suite is soon past its date on mirrors that stand still.
        unchecked = ("-o", "Acquire::Check-Valid-Until=false")
        self._inside(["apt-get", *unchecked, "update"])
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
        self._inside([*quiet, "apt-get", "install", "--yes", "--no-install-recommends", "apptainer"])
        self._inside(["useradd", "--uid", UID, "--create-home", NAME])

    def build(self, context: Path, base: Path, torch_index: str | None, facts: dict[str, str]) -> None:
        """Build the image.

        Parameters
        ----------
        context : Path
            Folder with Singularity.def, inside ``shared``.
        base : Path
            The base as a tar archive.
        torch_index : str or None
            The index that torch comes from; None is the definition's.
        facts : dict of str to str
            Further build arguments.
        """
        root = unpack(base, self.folder / "base")
        arguments = {**facts, "BOOTSTRAP": "localimage", "FROM": str(root)}
        if torch_index is not None:
            arguments["TORCH_INDEX"] = torch_index
        words = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        for path, place in pip_mounts(self.folder):
            words += ["--bind", f"{self._brought(path)}:{place}"]
            _make_place(root, place, path.is_dir())
        kind = [] if self.sif else ["--sandbox"]
        self._inside(["apptainer", "build", *kind, *words, self.image, "Singularity.def"], context)
        shutil.rmtree(root)

    def app(self, uid: int, mounts: Mounts, arguments: Sequence[object]) -> str:
        """Run the image under all restrictions, as root (0) or as the tree's user."""
        return self._as(uid, ["apptainer", "run", *STRICT, *binds(mounts), self.image, *arguments])

    def python(
        self, uid: int, mounts: Mounts, arguments: Sequence[object], options: Sequence[str] = STRICT
    ) -> str:
        """Run the image's Python instead of the app."""
        words = ["apptainer", "--quiet", "exec", *options, *binds(mounts), self.image, PYTHON, *arguments]
        return self._as(uid, words)

    def labels(self) -> str:
        """What ``apptainer inspect`` says."""
        return self._inside(["apptainer", "inspect", self.image])

    def test(self) -> str:
        """Run the definition's own %test."""
        return self._inside(["apptainer", "test", *STRICT, self.image])

    def size_gb(self) -> float:
        """Size of the image, 10^9 bytes."""
        return int(run(["du", "-s", "--block-size=1", self.image]).split()[0]) / 1e9

    def remove(self) -> None:
        """Remove the tree and the image; what was mounted ended with its processes."""
        unmount_below(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _as(self, uid: int, words: Sequence[object]) -> str:
        if uid == 0:
            return self._inside(words)
        return self._inside(["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", *words])

    def _inside(self, words: Sequence[object], where: Path | None = None) -> str:
        unshared = ["unshare", "--mount", "--propagation", "private"]
        # The machine's root may lack a capability that Apptainer would hand on.
        dropped = ["env", "APPTAINER_DROP_CAPS=CAP_SYS_RESOURCE", f"APPTAINER_TMPDIR={self.temporary}"]
        moved = ["env", f"--chdir={where}"] if where else []
        return run([*unshared, "sh", ENTER, self.tree, self.shared, *dropped, *moved, *words])

    def _brought(self, path: Path) -> Path:
        """A file or folder of the machine outside, copied to where the tree sees it."""
        if self.shared in path.parents:
            return path
        copy = self.folder / path.name
        if not copy.exists():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
        return copy


def binds(mounts: Mounts) -> list[str]:
    """Options of Apptainer for what a container sees."""
    words = ["--bind", f"{mounts.data}:/data:ro", "--bind", f"{mounts.out}:/out"]
    for path, place in mounts.more:
        words += ["--bind", f"{path}:{place}:ro"]
    return words


def _make_place(root: Path, place: str, folder: bool) -> None:
    """Apptainer binds only onto what exists."""
    path = root / place.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder:
        path.mkdir(exist_ok=True)
    else:
        path.touch()
