"""The command line: options, refusals and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeDataset, centred_grid, write_image

from softseg_bids.app import cli, identity, looking, resources, validation
from softseg_bids.app.cli import main
from softseg_bids.app.identity import version
from softseg_bids.app.options import settings_of
from softseg_bids.app.outcome import Exit, Stop

RUN = Path(__file__).parents[1] / "run.py"
T2W = "sub-01/anat/sub-01_T2w.nii.gz"
Softseg = Callable[..., int]


def tiny(bids: MakeDataset, relative: str = T2W) -> Path:
    """An image that nobody will segment."""
    return write_image(
        bids.root / relative, np.eye(8, dtype=np.float32)[None].repeat(8, 0), centred_grid((8, 8, 8))
    )


class TestOptions:
    """What the options mean."""

    def parse(self, *more: str) -> object:
        return settings_of(["/data", "/out", "participant", *more])

    @pytest.mark.parametrize("option", ["--participant-label", "--participant_label"])
    def test_labels_lose_their_prefix(self, option: str) -> None:
        assert self.parse(option, "sub-01", "02").participants == ("01", "02")

    @pytest.mark.parametrize("option", ["--session-label", "--session_label", "--session-id"])
    def test_sessions(self, option: str) -> None:
        assert self.parse(option, "ses-A").sessions == ("A",)

    @pytest.mark.parametrize("option", ["-m", "--contrasts", "--modalities"])
    def test_contrasts(self, option: str) -> None:
        assert self.parse(option, "T1w", "T2w").contrasts == ("T1w", "T2w")

    @pytest.mark.parametrize("option", ["--nprocs", "--nthreads", "--n_cpus", "--n-cpus"])
    def test_processes(self, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resources, "usable_cpus", lambda *_: 8)  # whatever this machine has
        assert self.parse(option, "3").nprocs == 3
        assert self.parse(option, "9").nprocs == 8

    @pytest.mark.parametrize(("text", "gb"), [("8G", 8), ("512M", 0.5), ("1.5GB", 1.5), ("1T", 1024)])
    def test_memory_has_a_unit(self, text: str, gb: float) -> None:
        assert self.parse("--mem", text).mem_gb == pytest.approx(gb)

    def test_named_derivatives(self, tmp_path: Path) -> None:
        found = self.parse("-d", f"corrected={tmp_path}", str(tmp_path)).derivatives
        assert found == (("corrected", tmp_path), (tmp_path.name, tmp_path))

    def test_validation_can_be_skipped_in_any_spelling(self) -> None:
        for word in ("validation", "validator"):
            assert not self.parse("--validate", f"--skip-bids-{word}").validate
            assert not self.parse("--validate", f"--skip_bids_{word}").validate
        assert self.parse("--validate").validate

    def test_the_work_folder_carries_the_version(self) -> None:
        assert version() in self.parse().work.name
        assert self.parse().work.parent == Path("/out/.softseg-work")
        assert self.parse("-w", "/tmp/w").work.parent == Path("/tmp/w")

    @pytest.mark.parametrize(
        "wrong",
        [("--mem", "8"), ("--mem", "0G"), ("--nprocs", "0"), ("--nprocs", "x"), ("--device", "tpu"),
         ("--model", "/none"), ("-d", "/none"), ("--unknown",), ("--bids-filter-file", "/none")],
    )  # fmt: skip
    def test_wrong_usage_is_64(self, wrong: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["/data", "/out", "participant", *wrong]) == 64
        assert wrong[-1] in capsys.readouterr().err

    def test_notrack_does_nothing(self) -> None:
        mem = ("--mem", "1G")  # else what is free at that moment
        assert self.parse("--notrack", *mem) == self.parse(*mem)


class TestExitCodes:
    """One code for each way a run can end."""

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert version() in capsys.readouterr().out

    def test_unknown_level(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([str(tmp_path), str(tmp_path / "out"), "session"]) == 17
        assert "participant, group" in capsys.readouterr().err

    def test_out_is_the_dataset(self, bids: MakeDataset, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([str(bids.root), str(bids.root / "."), "participant"]) == 64
        assert "derivatives" in capsys.readouterr().err

    def test_work_inside_the_dataset(self, bids: MakeDataset, tmp_path: Path) -> None:
        work = str(bids.root / "work")
        assert main([str(bids.root), str(tmp_path / "out"), "participant", "-w", work]) == 64

    def test_out_inside_the_dataset_keeps_its_own_work_folder(self, bids: MakeDataset) -> None:
        out = bids.root / "derivatives" / "softseg"
        assert settings_of([str(bids.root), str(out), "participant"]).out == out

    def test_unknown_participant(
        self, bids: MakeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tiny(bids)
        arguments = [str(bids.root), str(tmp_path / "out"), "participant", "--participant-label", "99"]
        assert main(arguments) == 18
        said = capsys.readouterr().err
        assert "99" in said and "01" in said and "mounted" in said

    def test_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "bids").mkdir()
        assert main([str(tmp_path / "bids"), str(tmp_path / "out"), "participant"]) == 66

    def test_no_folder(self, tmp_path: Path) -> None:
        assert main([str(tmp_path / "bids"), str(tmp_path / "out"), "participant", "--validate"]) == 66

    def test_out_cannot_be_made(self, bids: MakeDataset, tmp_path: Path) -> None:
        tiny(bids)
        (tmp_path / "file").write_text("")
        assert main([str(bids.root), str(tmp_path / "file" / "out"), "participant"]) == 73

    def test_out_cannot_be_written(
        self, bids: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiny(bids)
        monkeypatch.setattr(cli.os, "access", lambda *_: False)
        assert main([str(bids.root), str(tmp_path / "out"), "participant"]) == 73

    def test_work_cannot_be_made(self, bids: MakeDataset, tmp_path: Path) -> None:
        tiny(bids)
        (tmp_path / "file").write_text("")
        arguments = [str(bids.root), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "file" / "w")]
        assert main(arguments) == 73

    def test_out_of_another_tool(self, bids: MakeDataset, checkpoint: Path, tmp_path: Path) -> None:
        tiny(bids)
        out = tmp_path / "out"
        out.mkdir()
        other = {"Name": "x", "BIDSVersion": "1.9.0", "GeneratedBy": [{"Name": "other"}]}
        (out / "dataset_description.json").write_text(json.dumps(other))
        assert main([str(bids.root), str(out), "participant", "--model", str(checkpoint)]) == 73

    @pytest.mark.parametrize("text", ['{"T9w": {}}', '{"T2w": {"aquisition": "full"}}'])
    def test_bad_filter_file(
        self, bids: MakeDataset, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tiny(bids)
        filters = tmp_path / "filter.json"
        filters.write_text(text)
        argv = [str(bids.root), str(tmp_path / "o"), "participant", "--bids-filter-file", str(filters)]
        assert main(argv) == 64
        assert capsys.readouterr().err.startswith(f"softseg: {filters}: ")

    def test_bad_plugin_file(self, bids: MakeDataset, checkpoint: Path, tmp_path: Path) -> None:
        tiny(bids)
        plugin = tmp_path / "plugin.yml"
        arguments = [str(bids.root), str(tmp_path / "o"), "participant", "--model", str(checkpoint)]
        for text in ("plugin: Abacus", "a: [", "- 1"):
            plugin.write_text(text)
            assert main([*arguments, "--use-plugin", str(plugin)]) == 64
        assert not (tmp_path / "o" / "logs").exists()

    def test_no_checkpoint(self, bids: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny(bids)
        monkeypatch.setattr(identity, "DEFAULT", tmp_path / "none.pt")
        assert main([str(bids.root), str(tmp_path / "o"), "participant"]) == 64

    def test_unknown_site_column(self, bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
        tiny(bids)
        (bids.root / "participants.tsv").write_text("participant_id\tcentre\nsub-01\tA\n")
        assert softseg(bids.root, tmp_path / "o", "participant", "--site-column", "place") == 64

    def test_interrupted(self, bids: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(looking, "look", interrupt)
        assert main([str(bids.root), str(tmp_path / "o"), "participant"]) == 130

    def test_reports_need_results(self, bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
        assert softseg(bids.root, tmp_path / "o", "participant", "--reports-only") == 66


class TestValidation:
    """--validate asks the BIDS validator."""

    def test_invalid_dataset(self, bids: MakeDataset, tmp_path: Path) -> None:
        tiny(bids)
        (bids.root / "strange.txt").write_text("not BIDS")
        assert main([str(bids.root), str(tmp_path / "o"), "participant", "--validate"]) == 16

    def test_validator_missing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(validation.shutil, "which", lambda *_, **__: None)
        with pytest.raises(Stop, match="pip install") as stopped:
            validation.validate(tmp_path)
        assert stopped.value.code == Exit.USAGE


def test_dry_run_lists_everything_and_writes_nothing(
    bids: MakeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny(bids)
    tiny(bids, "sub-01/anat/sub-01_MTR.nii.gz")
    assert main([str(bids.root), str(tmp_path / "out"), "participant", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "ratio map" in said and T2W in said
    assert not (tmp_path / "out").exists()


def test_reports_only(bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
    bids.image(T2W)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 0
    (out / "sub-01.html").unlink()
    assert softseg(bids.root, out, "participant", "--reports-only") == 0
    assert (out / "sub-01.html").exists()
    assert softseg(bids.root, out, "participant", "--reports-only", "--participant-label", "7") == 18


def test_write_graph(bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
    bids.empty(T2W)
    assert softseg(bids.root, tmp_path / "out", "participant", "--write-graph") == 0
    assert list((tmp_path / "out").glob("logs/*/scans.dot"))


def test_help_is_light() -> None:
    heavy = "{'nipype', 'pandas', 'matplotlib'}"
    code = f"import sys, softseg_bids.app.cli; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=RUN.parent).returncode == 0


def test_start_up_imports_neither_torch_nor_matplotlib() -> None:
    heavy = "{'torch', 'monai', 'matplotlib'}"
    code = f"import sys, softseg_bids.app.participant; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=RUN.parent).returncode == 0


def test_a_user_without_name_home_or_temporary_folder(
    bids: MakeDataset, blind_checkpoint: Path, tmp_path: Path
) -> None:
    tiny(bids)
    out = tmp_path / "out"
    code = f"""
import os, pwd, sys, tempfile

def nobody(*_):
    raise KeyError("uid not found")

pwd.getpwuid = nobody
tempfile._candidate_tempdir_list = lambda: [os.environ.get("TMPDIR", "/proc/none")]
if __name__ == "__main__":
    from softseg_bids.app.cli import main
    arguments = [{str(bids.root)!r}, {str(out)!r}, "participant", "--model", {str(blind_checkpoint)!r}]
    code = main([*arguments, "--nprocs", "1", "--device", "cpu"])
    print(os.environ["USER"], os.environ["TMPDIR"], os.environ["MPLCONFIGDIR"])
    sys.exit(code)
"""
    environment = {"PATH": os.environ["PATH"], "HOME": "/proc/none", "TMPDIR": "/proc/none"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=RUN.parent
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3, done.stdout + done.stderr
    user, temporary, matplotlib = done.stdout.split()
    assert user == f"uid{os.getuid()}"
    assert out / ".softseg-work" in Path(temporary).parents
    assert out / ".softseg-work" in Path(matplotlib).parents
