"""The Dockerfile's image, built by buildah and run by podman, in a storage of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from container.conditions import Condition, Mounts
from container.debian import base_archive
from container.processes import Failed, Unavailable, run, unmount_below

PROGRAMS = ("podman", "buildah", "runc")
BASE = "docker.io/library/debian:bookworm-slim"
IMAGE, TRIVIAL = "localhost/softseg:test", "localhost/trivial:test"
BUILD = ("--layers=false", "--isolation", "chroot", "--network", "host", "--pull-never")
PULL_S, TRIVIAL_S, RUN_S = 120, 600, 5400  # seconds
PYTHON = "/opt/softseg/bin/python"
# Where the machine's certificates and wheels, which pip was told of, are seen during the build.
CERTIFICATE, WHEELS, PIP_CONF = "/run/ci/ca.crt", "/run/ci/wheels", "/etc/pip.conf"


@dataclass(frozen=True)
class Podman:
    """Podman with its own storage.

    Attributes
    ----------
    folder : Path
        For images, containers and settings.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point podman and buildah to this storage."""
        return {
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
        }

    def set_up(self) -> None:
        """Write the settings. Limits are low enough to need no capability of the machine's root."""
        (self.folder / "storage").mkdir(parents=True)
        (self.folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\n'
            f'runroot = "{self.folder / "run"}"\ngraphroot = "{self.folder / "storage"}"\n'
        )
        (self.folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )

    def base(self) -> tuple[str, Path]:
        """Provide the base image: the published one if it can be had, else a debootstrap tree.

        Returns
        -------
        str, Path
            Which one it is, and its files as a tar archive.
        """
        try:
            self._podman("pull", "--quiet", BASE, timeout_s=PULL_S)
        except Failed:
            archive = base_archive(self.folder)
            self._podman("import", "--quiet", "--change", 'CMD ["bash"]', archive, BASE)
            return "a debootstrap tree (the published image could not be pulled)", archive
        archive = self.folder / "base.tar"
        name = self._podman("create", BASE).split()[-1]
        self._podman("export", "--output", archive, name)
        return "the published image", archive

    def try_out(self, condition: Condition, mounts: Mounts) -> None:
        """Build and run an image of nothing but the base: what fails after this is the recipe's own fault.

        Raises
        ------
        Unavailable
            If this machine cannot do even that, or cannot reach Debian's packages from within a build.
        """
        folder = self.folder / "trivial"
        folder.mkdir()
        (folder / "Dockerfile").write_text(f"FROM {BASE}\nRUN apt-get update\n")
        try:
            run(["buildah", "bud", *BUILD, "-t", TRIVIAL, folder], self.environment, timeout_s=TRIVIAL_S)
            self._podman("run", *flags(condition, mounts), TRIVIAL, "true", timeout_s=TRIVIAL_S)
        except Failed as failure:
            raise Unavailable(f"not even a trivial image can be built and run here: {failure}") from failure
        self._podman("rmi", TRIVIAL)

    def build(self, context: Path, torch_index: str | None, facts: dict[str, str]) -> None:
        """Build the image from nothing but its base.

        Parameters
        ----------
        context : Path
            Folder with the Dockerfile.
        torch_index : str or None
            The index that torch comes from; None is the Dockerfile's.
        facts : dict of str to str
            Further build arguments.
        """
        arguments = dict(facts)
        if torch_index is not None:
            arguments["TORCH_INDEX"] = torch_index
        given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        seen = [word for path, place in pip_mounts(self.folder) for word in ("-v", f"{path}:{place}:ro")]
        run(["buildah", "bud", *BUILD, *seen, *given, "-t", IMAGE, context], self.environment)

    def app(self, condition: Condition, mounts: Mounts, arguments: Sequence[object]) -> str:
        """Run the image as a user would, and return what it says."""
        return self._podman("run", *flags(condition, mounts), IMAGE, *arguments)

    def python(
        self, condition: Condition, mounts: Mounts, arguments: Sequence[object], variables: Sequence[str] = ()
    ) -> str:
        """Run the image's Python instead of the app."""
        given = [word for variable in variables for word in ("--env", variable)]
        options = [*flags(condition, mounts), *given, "--entrypoint", PYTHON]
        return self._podman("run", *options, IMAGE, *arguments)

    def labels(self) -> dict[str, str]:
        """Labels of the image."""
        found = json.loads(self._podman("image", "inspect", IMAGE))[0]["Labels"]
        return {str(key): str(value) for key, value in found.items()}

    def size_gb(self) -> float:
        """Size of the image, 10^9 bytes."""
        return float(json.loads(self._podman("image", "inspect", IMAGE))[0]["Size"]) / 1e9

    def remove(self) -> None:
        """End what still runs in this storage, and remove it."""
        if (self.folder / "storage.conf").is_file():
            self._podman("rm", "--all", "--force", "--time", "0")
        unmount_below(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _podman(self, *words: object, timeout_s: float = RUN_S) -> str:
        return run(["podman", *words], self.environment, timeout_s=timeout_s)


def flags(condition: Condition, mounts: Mounts) -> list[str]:
    """Options of ``podman run`` for these restrictions, so that it does what ``docker run`` does."""
    words = ["--rm", "--network", "host" if condition.network else "none"]
    if condition.read_only:
        # Docker mounts nothing by itself on a read-only root; podman would.
        words += ["--read-only", "--read-only-tmpfs=false"]
    if condition.tmpfs:
        words += ["--tmpfs", "/tmp"]
    if condition.chosen:
        # Podman, unlike Docker, would write an entry for the user into /etc/passwd.
        words += ["--user", f"{condition.uid}:{condition.uid}", "--passwd=false"]
    if condition.powerless:
        words += ["--cap-drop", "all", "--security-opt", "no-new-privileges"]
    mode = "rw" if condition.uid == 0 and not condition.read_only else "ro"
    words += ["--volume", f"{mounts.data}:/data:{mode}", "--volume", f"{mounts.out}:/out"]
    for path, place in mounts.more:
        words += ["--volume", f"{path}:{place}:ro"]
    return words


def pip_mounts(folder: Path, environment: dict[str, str] | None = None) -> list[tuple[Path, str]]:
    """What a build needs where pip was told of a certificate or of local wheels, and where it goes.

    Parameters
    ----------
    folder : Path
        For a pip.conf that names the places inside.
    environment : dict, optional
        With PIP_CERT and PIP_FIND_LINKS, pip's own variables; this process's by default.
    """
    variables = os.environ if environment is None else environment
    mounts, lines = [], ["[global]"]
    for variable, key, place in (("PIP_CERT", "cert", CERTIFICATE), ("PIP_FIND_LINKS", "find-links", WHEELS)):
        value = variables.get(variable, "")
        if value and Path(value).exists():
            mounts.append((Path(value), place))
            lines.append(f"{key} = {place}")
    if mounts:
        path = folder / "pip.conf"
        path.write_text("\n".join(lines) + "\n")
        mounts.append((path, PIP_CONF))
    return mounts
