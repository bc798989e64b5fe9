"""The parts that keep a fault from doing harm, one by one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import CORD, MakeDataset, centred_grid, cylinder, write_image

from faults import report
from faults.lab import Outcome
from softseg_bids.app import cli, steps
from softseg_bids.app.claims import CLAIMS, claimed, forget
from softseg_bids.app.failures import KILLED, STARVED, explain, unwritable_error
from softseg_bids.app.interruption import heeding, interruptible, terminable
from softseg_bids.app.jobs import stamp
from softseg_bids.app.landmarks import NO_LABEL, disc_points, usable_discs
from softseg_bids.app.manifest import RESERVE, Entry, Manifest, remove_reserves
from softseg_bids.app.outcome import Exit
from softseg_bids.app.results import session_facts
from softseg_bids.bids import derivatives
from softseg_bids.bids.discover import discover
from softseg_bids.bids.rows import read_rows
from softseg_bids.bids.sidecars import json_object, read_json
from softseg_bids.image import aside
from softseg_bids.image.aside import PREFIX, remove_abandoned, written_aside
from softseg_bids.image.volume import (
    MOST_TRAILING_BYTES,
    DataError,
    Volume,
    check_file,
    read_grid,
    read_series,
    read_volume,
    reading_bytes,
)

GRID = centred_grid((12, 12, 14))
IMAGE = CORD * cylinder(GRID, over=2)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "a.nii.gz", IMAGE, GRID)


def changed(image: Path, place: int, kind: str, *values: object) -> Path:
    """The image with something else at a place of its header."""
    content = bytearray(gzip.decompress(image.read_bytes()))
    struct.pack_into(f"<{kind}", content, place, *values)
    image.write_bytes(gzip.compress(bytes(content)))
    return image


class TestHeaders:
    """What cannot be right is refused before anything is unpacked."""

    @pytest.mark.parametrize("offset", [float("nan"), float("inf"), -1.0, 1e9])
    def test_where_the_voxels_begin(self, image: Path, offset: float) -> None:
        with pytest.raises(DataError, match="voxels begin at byte"):
            read_grid(changed(image, 108, "f", offset))

    def test_a_field_of_view_of_no_scanner(self, image: Path) -> None:
        wide = nib.Nifti1Image(np.zeros((200, 12, 14), np.uint8), np.diag([15.0, 1, 1, 1]))
        nib.save(wide, image)
        with pytest.raises(DataError, match=r"3\.0 m long"):
            read_grid(image)

    def test_more_than_the_header_claims(self, image: Path) -> None:
        packed = image.read_bytes()
        image.write_bytes(packed + gzip.compress(bytes(1000)))
        assert read_series(image).array.shape[:3] == GRID.shape  # some programs append a little
        image.write_bytes(packed + gzip.compress(bytes(MOST_TRAILING_BYTES + 1)))
        with pytest.raises(DataError, match="holds more than"):
            read_series(image)

    def test_a_bomb_is_not_unpacked(self, image: Path) -> None:
        packed = image.read_bytes() + gzip.compress(bytes(2**24), 9) * 64  # a gigabyte of nothing
        image.write_bytes(packed)
        before = time.process_time()
        with pytest.raises(DataError, match="holds more than"):
            read_series(image)
        assert time.process_time() - before < 1.0

    def test_memory_is_asked_for_by_the_header(self, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert reading_bytes(image) == IMAGE.size * (2 * 4 + 8 + 8 + 1)
        changed(image, 42, "3h", 700, 700, 700)
        monkeypatch.setattr(steps, "usable_memory_gb", lambda: 4.0)
        with pytest.raises(DataError, match=r"takes 8\.0 GiB of memory, and there are 4\.0"):
            steps.check_memory([image])

    def test_nifti_2_and_big_endian(self, image: Path) -> None:
        nib.save(nib.Nifti2Image(IMAGE, GRID.affine), image)
        np.testing.assert_array_equal(read_volume(image).array, IMAGE)
        nib.save(nib.Nifti1Image(IMAGE, GRID.affine, nib.Nifti1Header(endianness=">")), image)
        np.testing.assert_array_equal(read_volume(image).array, IMAGE)

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe.nii.gz"
        os.mkfifo(pipe)
        endless = tmp_path / "endless.nii.gz"
        endless.symlink_to("/dev/zero")
        for path in (pipe, endless, tmp_path):
            with pytest.raises(DataError, match="is no file"):
                check_file(path)
        with pytest.raises(DataError, match="is no file"):
            steps.digest([pipe])


class TestAside:
    """Files appear whole, and half-written ones go when their writer is gone."""

    def test_a_live_writer_keeps_its_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(aside, "UNLOCKED_S", 0.0)
        with written_aside(tmp_path / "a.json") as made:
            made.write_text("{}")
            assert remove_abandoned([tmp_path]) == 0
        assert (tmp_path / "a.json").read_text() == "{}"

    def test_a_dead_writers_file_goes(self, tmp_path: Path) -> None:
        left = tmp_path / f"{PREFIX}x.nii.gz"
        left.write_text("half")
        os.utime(left, (0, 0))
        assert remove_abandoned([tmp_path]) == 1 and not left.exists()

    def test_a_young_file_is_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []
        left = tmp_path / f"{PREFIX}x.nii.gz"
        left.write_text("half")

        def renamed(seconds: float) -> None:
            slept.append(seconds)
            left.replace(tmp_path / "x.nii.gz")

        monkeypatch.setattr(aside.time, "sleep", renamed)
        assert remove_abandoned([tmp_path]) == 0 and (tmp_path / "x.nii.gz").exists()

        def aged(seconds: float) -> None:
            slept.append(seconds)
            os.utime(left, (0, 0))

        monkeypatch.setattr(aside.time, "sleep", aged)
        left.write_text("half")
        assert remove_abandoned([tmp_path]) == 1 and not left.exists()
        assert all(0 < seconds <= 2 * aside.UNLOCKED_S for seconds in slept) and len(slept) == 2

        monkeypatch.setattr(aside.time, "sleep", slept.append)
        left.write_text("half")  # and is still being written
        assert remove_abandoned([tmp_path]) == 0 and left.exists()

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.write_text("mine")
        os.utime(target, (0, 0))
        (tmp_path / f"{PREFIX}link").symlink_to(target)
        assert remove_abandoned([tmp_path]) == 0 and target.exists()


class TestFailures:
    """Every failure is one sentence."""

    def note(self, message: str, for_user: bool = False) -> dict[str, object]:
        return {"message": message, "for_user": for_user, "kind": "Error"}

    def test_input_speaks_for_itself(self) -> None:
        assert explain(self.note("a.nii: broken", True), "", "conform") == ("a.nii: broken", "data")

    @pytest.mark.parametrize("number", [28, 30, 122, 13])
    def test_an_output_that_cannot_be_written(self, number: int) -> None:
        error = OSError(number, os.strerror(number), "/out/x")
        for found in (explain(self.note(str(error)), "", "save"), explain(None, f"Error: {error}\n", "save")):
            assert found.kind == "output" and found.reason == unwritable_error(error)
        assert "/out/x: cannot be written" in unwritable_error(error)

    @pytest.mark.parametrize(
        "said",
        [
            "MemoryError",
            "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory",
            "torch.OutOfMemoryError: CUDA out of memory",
            "ImportError: libx.so: failed to map segment from shared object",
            "OSError: [Errno 12] Cannot allocate memory",
        ],
    )
    def test_memory(self, said: str) -> None:
        assert explain(None, said, "segment") == (STARVED, "memory")

    def test_ours(self) -> None:
        assert explain(self.note("x"), "", "trace") == ("Error: x", "unexpected")
        assert explain(None, "Traceback\n  a\nKeyError: 'x'\n", "trace") == ("KeyError: 'x'", "unexpected")
        assert explain(None, "", "trace") == ("its step trace could not be run", "unexpected")
        assert "--nprocs" in KILLED


class TestInterruption:
    """The first signal counts, and the end is near."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_interrupts_once(self, number: signal.Signals) -> None:
        said: list[str] = []
        before = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt), interruptible(lambda: said.append("last words"), 30.0):
            try:
                signal.raise_signal(number)
                time.sleep(5)
            except KeyboardInterrupt:
                signal.raise_signal(number)  # is not raised again while the first one is dealt with
                said.append("in time")
                raise
        assert said == ["in time"] and signal.getsignal(number) is before

    def test_who_does_not_hear_is_ended(self) -> None:
        left: list[int] = []
        said: list[str] = []
        heard = threading.Event()

        def leave(code: int) -> None:
            left.append(code)
            heard.set()

        with pytest.raises(KeyboardInterrupt), interruptible(lambda: said.append("last words"), 0.05, leave):
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                heard.wait(30)
        assert (left, said) == ([Exit.INTERRUPTED], ["last words"])

    def test_what_a_library_makes_of_it_does_not_count(self) -> None:
        """Swallowed, or taken for a failure, it is an interruption all the same; without one all stays."""
        for swallow in (True, False):
            with pytest.raises(KeyboardInterrupt), interruptible(lambda: None, 30.0), heeding():
                try:
                    signal.raise_signal(signal.SIGINT)
                except KeyboardInterrupt as error:
                    if not swallow:
                        raise ValueError("a node failed") from error
        with pytest.raises(ValueError, match="its own"), interruptible(lambda: None), heeding():
            raise ValueError("its own")  # the interruption before was another run's

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_who_has_no_last_words_is_ended_too(self) -> None:
        left: list[int] = []
        heard = threading.Event()

        def speechless() -> None:
            raise OSError(5, "a record that cannot be read")

        def leave(code: int) -> None:
            left.append(code)
            heard.set()

        with pytest.raises(KeyboardInterrupt), interruptible(speechless, 0.05, leave):
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                heard.wait(30)
        assert left == [Exit.INTERRUPTED]

    def test_before_a_run_is_under_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def looking(*_: object) -> None:
            signal.raise_signal(signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(cli, "settings_of", looking)
        assert cli.main(["bids", "out", "participant"]) == Exit.INTERRUPTED
        assert signal.getsignal(signal.SIGTERM) is before

    def test_what_was_swallowed_before_a_run_counts(self) -> None:
        with pytest.raises(KeyboardInterrupt), terminable():
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            with interruptible(lambda: None):
                pytest.fail("a run that was told to end has begun")
        with terminable(), interruptible(lambda: None), heeding():
            pass  # the interruption before was another run's

    def test_other_threads_are_left_alone(self) -> None:
        before, seen = signal.getsignal(signal.SIGINT), []

        def work() -> None:
            with terminable(), interruptible(lambda: None):
                seen.append(signal.getsignal(signal.SIGINT))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [before]


HOLD = """
import sys, time
from pathlib import Path
from softseg_bids.app.claims import claimed
with claimed(Path(sys.argv[1]), ["01"]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


class TestClaims:
    """One run at a time on one participant."""

    def test_another_run_waits(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        other = subprocess.Popen(
            [sys.executable, "-c", HOLD, tmp_path, "1"], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with claimed(tmp_path, ["02"]):
            assert not caplog.messages and other.poll() is None
        with claimed(tmp_path, ["02", "01"]):
            assert other.wait(30) == 0
        assert "another run is working on sub-01" in caplog.text and "sub-02" not in caplog.text

    def test_a_killed_run_lets_go(self, tmp_path: Path) -> None:
        other = subprocess.Popen(
            [sys.executable, "-c", HOLD, tmp_path, "600"], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        other.kill()
        other.wait()
        with claimed(tmp_path, ["01"]):
            assert (tmp_path / CLAIMS).stat().st_mode & 0o777 == 0o600

    def test_the_last_run_removes_the_folder(self, tmp_path: Path) -> None:
        work = tmp_path / ".softseg-work" / "softseg-1"
        with claimed(work, ["01"]):
            (work / "scans" / "sub_01").mkdir(parents=True)
            other = subprocess.Popen(
                [sys.executable, "-c", HOLD.replace('"01"', '"02"'), work, "600"],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert other.stdout is not None and other.stdout.readline() == "held\n"
        forget(work)
        assert (work / CLAIMS).exists() and (work / "scans" / "sub_01").exists()  # the other one's
        other.kill()
        other.wait()
        (work / "scans" / "failed").mkdir()
        (work / "scans" / "failed" / "a").touch()
        forget(work)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [work / "scans" / "failed" / "a"]
        (work / "scans" / "failed" / "a").unlink()
        (work / CLAIMS).touch()
        forget(work)
        assert list(tmp_path.iterdir()) == []
        forget(work)  # nothing to do

    def test_whoever_waited_for_the_last_run_claims_anew(self, tmp_path: Path) -> None:
        """The file that it waited on was removed: another run would claim the next one."""
        work = tmp_path / ".softseg-work" / "softseg-1"
        with claimed(work, ["01"]):
            other = subprocess.Popen(
                [sys.executable, "-c", HOLD, work, "600"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert other.stdout is not None and "waiting for it to end" in other.stdout.readline()
            (work / CLAIMS).unlink()
            work.rmdir()
        assert other.stdout.readline() == "held\n"
        assert (work / CLAIMS).exists()
        with (work / CLAIMS).open("r+b") as file, pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        other.kill()
        other.wait()

    def test_a_file_system_without_locks_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def unable(*_: object) -> None:
            raise OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "lockf", unable)
        with claimed(tmp_path, ["01"]):
            assert "knows no locks" in caplog.text

    @pytest.mark.parametrize("number", [errno.ENOLCK, errno.EDEADLK])
    def test_locks_that_run_out_while_waiting_are_told(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        number: int,
    ) -> None:
        def unable(_: int, how: int, *__: object) -> None:
            raise BlockingIOError if how & fcntl.LOCK_NB else OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "lockf", unable)
        with claimed(tmp_path, ["01"]):
            assert "waiting for it to end" in caplog.text and "knows no locks" in caplog.text


class TestManifest:
    """It is there from the beginning and finds a place at the end."""

    def test_it_begins_without_an_exit_code(self, tmp_path: Path) -> None:
        manifest = Manifest([], "1", inputs=[Entry("a", status="not run")])
        manifest.begin(tmp_path)
        content = json.loads((tmp_path / "manifest.json").read_text())
        assert content["exit_code"] is None and content["inputs"][0]["status"] == "not run"
        assert (tmp_path / RESERVE).stat().st_size > 10**5
        manifest.write(tmp_path)
        assert not (tmp_path / RESERVE).exists()

    def test_the_room_of_a_killed_run_is_given_back(self, tmp_path: Path) -> None:
        """But not that of a run under way, which will need it."""
        folders = [tmp_path / name for name in ("killed", "alive", "none")]
        for folder in folders:
            folder.mkdir()
        code = "import os, sys; from pathlib import Path; from softseg_bids.app.manifest import Manifest; "
        code += "Manifest([], '1').begin(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
        assert subprocess.run([sys.executable, "-c", code, folders[0]], check=False).returncode == -9
        assert (folders[0] / RESERVE).exists()
        alive = Manifest([], "1")
        alive.begin(folders[1])
        remove_reserves(folders)
        assert [(folder / RESERVE).exists() for folder in folders] == [False, True, False]
        alive.write(folders[1])
        assert not (folders[1] / RESERVE).exists()

    def test_it_goes_elsewhere_if_it_must(self, tmp_path: Path) -> None:
        manifest = Manifest([], "1", inputs=[Entry("a")])
        path = manifest.write(tmp_path / "no" / "folder" if os.geteuid() else Path("/proc/none"))
        assert json.loads(path.read_text())["exit_code"] == Exit.OUTPUT_UNWRITABLE
        assert path.parent.stat().st_mode & 0o077 == 0
        path.unlink()
        path.parent.rmdir()

    def test_the_order_of_exit_codes(self) -> None:
        failed = [Entry("a", status="failed", unreadable=True)]
        assert Manifest([], "1", inputs=failed, unwritable=True).exit_code() == 73
        assert Manifest([], "1", inputs=failed, unwritable=True, interrupted=True).exit_code() == 130


class TestDamage:
    """Files of an earlier run, or of somebody else, that are not what they were."""

    def test_a_sidecar_never_vouches_for_another_image(
        self, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "out_probseg.nii.gz"
        soft = IMAGE / CORD

        def write(checksum: str) -> None:
            derivatives.write_mask(path, soft, GRID, image, "probseg", {"SourceChecksum": checksum})

        write("first")
        seen: list[bool] = []

        def interrupted(*arguments: object) -> None:
            seen.append(derivatives.sidecar(path).exists())
            raise KeyboardInterrupt

        monkeypatch.setattr(derivatives, "write_volume", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write("first")
        with pytest.raises(KeyboardInterrupt):
            write("second")
        assert seen == [True, False]

    def test_a_damaged_mask_is_made_again(self, tmp_path: Path, image: Path) -> None:
        path = tmp_path / "out_probseg.nii.gz"
        wanted = {
            "SourceChecksum": "c",
            "ModelHash": "m",
            "CodeHash": steps.code_digest(),
            "MaskSource": "model",
        }
        derivatives.write_mask(path, IMAGE / CORD, GRID, image, "probseg", wanted)
        assert steps.stored_soft([path], "c", "m") is not None
        path.write_bytes(path.read_bytes()[:200])
        assert steps.stored_soft([path], "c", "m") is None
        derivatives.sidecar(path).write_text("[" * 100_000)
        assert steps.stored_soft([path], "c", "m") is None

    def test_a_replaced_file_with_its_old_time_is_noticed(self, image: Path) -> None:
        before, times = stamp(image), image.stat()
        content = bytearray(image.read_bytes())
        time.sleep(0.02)
        image.write_bytes(content)
        os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert image.stat().st_mtime_ns == times.st_mtime_ns and stamp(image) != before

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"Session"', "[" * 100_000])
    def test_facts_that_cannot_be_read(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a_morph.json").write_text(text)
        with pytest.raises(DataError, match=r"a_morph\.json: cannot be used"):
            session_facts(tmp_path / "a_morph.tsv")

    def test_tables_and_sidecars_that_would_block_or_nest_for_ever(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert read_rows(tmp_path / "pipe") == [] and read_json(tmp_path / "pipe") == {}
        (tmp_path / "deep").write_text("[" * 100_000)
        assert read_json(tmp_path / "deep") == {}
        with pytest.raises(DataError, match="deep: cannot be read as JSON"):
            json_object(tmp_path / "deep")
        with pytest.raises(DataError, match="pipe: is no file"):
            json_object(tmp_path / "pipe")

    def test_a_table_of_a_spreadsheet(self, tmp_path: Path) -> None:
        (tmp_path / "t.tsv").write_text("participant_id\tsite\nsub-01\tZürich\n", encoding="utf-16")
        assert read_rows(tmp_path / "t.tsv") == [{"participant_id": "sub-01", "site": "Zürich"}]

    def test_an_image_in_the_place_of_labels(self) -> None:
        values = np.random.default_rng(0).random(GRID.shape, np.float32) * 1e30
        points = disc_points(Volume(values, GRID))
        assert list(points) == [NO_LABEL]
        steps_image = Volume(np.arange(GRID.shape[0] * 168, dtype=np.float32).reshape(GRID.shape), GRID)
        assert list(disc_points(steps_image)) == [NO_LABEL]
        from softseg_bids.app.landmarks import Track, axis_of

        line = np.stack([np.zeros(14), np.zeros(14), np.arange(14.0)[::-1]], axis=1)
        assert usable_discs(points, GRID, axis_of(Track(line, np.arange(14)))) == (
            {},
            ["it is an image, not labels"],
        )


def test_names_that_are_no_labels_are_left_out(bids: MakeDataset) -> None:
    bids.image("sub-01/anat/sub-01_T2w.nii.gz", GRID)
    for name in ("sub-01 (copy)", "sub-<b>", "sub-01\udcff"):
        (bids.root / name / "anat").mkdir(parents=True)
        (bids.root / name / "anat" / f"{name}_T2w.nii.gz").touch()
    (bids.root / "sub-01" / "anat" / "sub-01_acq-\udcfe_T2w.nii.gz").touch()
    (bids.root / "sub-01" / "ses-a b" / "anat").mkdir(parents=True)
    (bids.root / "sub-01" / "ses-a b" / "anat" / "sub-01_ses-a_T1w.nii.gz").touch()
    found = discover(bids.root)
    assert [scan.relative for scan in found.scans] == ["sub-01/anat/sub-01_T2w.nii.gz"]
    reasons = {entry.path.name: entry.reason for entry in found.left_out}
    assert {name for name, reason in reasons.items() if "letters and digits only" in reason} == {
        "sub-01 (copy)",
        "sub-<b>",
        "sub-01\udcff",
    }
    assert "not valid UTF-8" in reasons["sub-01_acq-\udcfe_T2w.nii.gz"]
    assert "session" in reasons["sub-01_ses-a_T1w.nii.gz"]
    assert all(entry.session is None for entry in found.left_out)


def test_what_no_index_holds_is_told(bids: MakeDataset) -> None:
    bids.image("sub-01/anat/sub-01_T2w.nii.gz", GRID)
    anat = bids.root / "sub-01" / "anat"
    (anat / "sub-01_T1w.bak.nii.gz").touch()
    (anat / "sub-01_T1w.NII.GZ").touch()
    (anat / "sub-01_PDw.nii.gz").mkdir()
    (bids.root / "sub-01" / "ses" / "anat").mkdir(parents=True)
    (bids.root / "sub-01" / "ses" / "anat" / "sub-01_T1w.nii.gz").touch()
    found = discover(bids.root)
    assert [scan.relative for scan in found.scans] == ["sub-01/anat/sub-01_T2w.nii.gz"]
    reasons = {entry.path.name: entry.reason for entry in found.left_out}
    assert reasons["sub-01_T1w.bak.nii.gz"] == "its extension is .bak.nii.gz, not .nii.gz or .nii: rename it"
    assert "its extension is .NII.GZ" in reasons["sub-01_T1w.NII.GZ"]
    assert "is no file" in reasons["sub-01_PDw.nii.gz"]
    assert "no folder of a participant or session" in reasons["sub-01_T1w.nii.gz"]
    assert len(reasons) == 4


class TestReport:
    """The page of what was injected: machine-written where it says so, and nowhere else."""

    OUTCOMES = (
        Outcome("Fire", "with matches", 10),
        Outcome("Flood", "with a hose", 5, 1, ["one file is wet"]),
        Outcome("War", "with words", skipped="nobody came"),
    )

    def test_only_what_is_marked_is_written(self, tmp_path: Path) -> None:
        report.write_report(tmp_path / "page.md", self.OUTCOMES, 7)
        text = (tmp_path / "page.md").read_text()
        for line in (
            "| Fire | 10 | 10 | 0 |",
            "| Flood | 5 | 4 | 1 |",
            "| War | – | – | 0 |",
            "| **all** | **15** | **14** | **1** |",
            "Seed 7.",
            "- **War**: with words. Not injected here: nobody came.",
            "- one file is wet",
        ):
            assert text.count(f"\n{line}\n") == 1, line
        marked = re.compile(r"(<!-- (\w+):begin -->).*?(<!-- \2:end -->)", re.DOTALL)
        assert len(marked.findall(text)) == 2
        assert marked.sub(r"\1\3", text) == marked.sub(r"\1\3", report.PAGE.read_text())
        assert "SIGKILL" not in "".join(found[0] for found in marked.finditer(text))

    def test_a_lost_marker_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
        (tmp_path / "page.md").write_text("<!-- injected:begin -->\n<!-- how:end -->\n")
        with pytest.raises(ValueError, match="injected:end"):
            report.write_report(tmp_path / "page.md", self.OUTCOMES, 7)
