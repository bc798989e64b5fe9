"""What of an argument is a model, a folder of masks, a cut, or a path for one contrast."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import write_image
from study_phantoms import body, checkpoint, grid

from softseg_bids.app.identity import is_model
from softseg_bids.model.releases.folders import model_in
from softseg_bids.study.arguments import Asked, Part, method, model_or_results


def lightning(folder: Path) -> Path:
    checkpoint(folder / "best_model_loss.ckpt")
    return folder


def result(folder: Path) -> Path:
    for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth"):
        checkpoint(folder / name)
    return folder


def unpacked(folder: Path) -> Path:
    result(folder / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    return folder


@pytest.mark.parametrize(("make", "inside"), [
    (lightning, "best_model_loss.ckpt"), (result, "."), (unpacked, "nnUNetTrainer__nnUNetPlans__3d_fullres"),
])  # fmt: skip
def test_every_folder_that_model_takes_is_a_model(
    make: Callable[[Path], Path], inside: str, tmp_path: Path
) -> None:
    folder = make(tmp_path / "release")
    assert is_model(folder) and model_in(folder) == folder / inside
    assert model_or_results(str(folder)) == folder
    assert method(f"theirs={folder}").parts == (Part(None, folder, True),)


def test_masks_are_no_model(tmp_path: Path) -> None:
    """Those that nnU-Net predicted have its plans beside them."""
    folder = tmp_path / "masks"
    write_image(folder / "sub-01_T2w.nii.gz", body("01"), grid())
    assert not is_model(folder) and method(f"a={folder}").parts == (Part(None, folder, False),)
    for name in ("plans.json", "dataset.json", "predict_from_raw_data_args.json"):
        checkpoint(folder / name)
    assert not is_model(folder) and not is_model(tmp_path)
    with pytest.raises(argparse.ArgumentTypeError, match="neither a model nor a folder of softseg's results"):
        model_or_results(str(folder))


def test_several_models_in_one_folder_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        result(tmp_path / name)
    for read in (model_or_results, lambda text: method(f"a={text}")):
        with pytest.raises(argparse.ArgumentTypeError, match=r"holds 2 result folders .*\(one, two\); name"):
            read(str(tmp_path))


def test_the_packaged_model_has_a_word() -> None:
    assert model_or_results("packaged") is None
    assert method("ours=packaged") == Asked("ours", None, (Part(None, None, True),))


class TestMethods:
    """NAME[@CUT]=PATH and NAME[@CUT]=KEY:PATH,KEY:PATH, in a folder with some checkpoints."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        for name in ("a.pt", "b.pt"):
            checkpoint(tmp_path / name)
        (tmp_path / "masks").mkdir()
        return tmp_path

    def test_a_cut(self, folder: Path) -> None:
        assert method("hard@0.5=a.pt") == Asked("hard@0.5", 0.5, (Part(None, folder / "a.pt", True),))
        assert method("soft=a.pt").cut is None
        assert method("x@.25=T1w:a.pt").cut == 0.25

    def test_a_path_a_contrast(self, folder: Path) -> None:
        found = method("each=T1w:a.pt,t2W:b.pt,DWI:packaged,MTon:masks")
        assert found.parts == (
            Part("T1w", folder / "a.pt", True), Part("t2W", folder / "b.pt", True), Part("DWI", None, True),
            Part("MTon", folder / "masks", False),
        )  # fmt: skip

    @pytest.mark.parametrize("name", [
        "T1w:a", "x:y,z:w", "a,b.pt", "run@0.5=new.pt", "k=v", "@", "T1w:x.pt,T2w:y.pt",
    ])  # fmt: skip
    def test_a_path_may_hold_the_signs_of_the_language(self, name: str, folder: Path) -> None:
        checkpoint(folder / name)
        for where in (name, f"./{name}", str(folder / name)):
            assert method(f"m={where}").parts == (Part(None, folder / name, True),)
        assert method(f"m@0.5={name}").parts == (Part(None, folder / name, True),)

    @pytest.mark.parametrize("name", ["a,b", "k=v@1", "x:y"])
    def test_and_so_may_the_path_of_a_contrast(self, name: str, folder: Path) -> None:
        checkpoint(folder / name)
        parts = method(f"m=T1w:{name},T2w:a.pt").parts
        assert parts == (Part("T1w", folder / name, True), Part("T2w", folder / "a.pt", True))

    def test_what_could_be_meant_both_ways_is_refused(self, folder: Path) -> None:
        checkpoint(folder / "T1w:a.pt")
        with pytest.raises(argparse.ArgumentTypeError, match=r"write \./T1w:a\.pt for the path"):
            method("m=T1w:a.pt")
        assert method("m=./T1w:a.pt").parts == (Part(None, folder / "T1w:a.pt", True),)
        checkpoint(folder / "a.pt,T2w:b.pt")
        with pytest.raises(argparse.ArgumentTypeError, match=r"a\.pt,T2w:b\.pt: is a path, .* rename it"):
            method("m=T1w:a.pt,T2w:b.pt")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("m@=a.pt", "'' is no value to cut at"),
            ("m@half=a.pt", "'half' is no value to cut at"),
            ("m@0=a.pt", "between 0 and 1"),
            ("m@1=a.pt", "between 0 and 1"),
            ("m@nan=a.pt", "between 0 and 1"),
            ("labels@0.5=a.pt", "is not NAME=PATH"),
            ("@0.5=a.pt", "is not NAME=PATH"),
            ("m=", "check the path of m"),
            ("m=T1w:", "check the path of m, T1w"),
            ("m=T1w:a.pt,T2w:gone.pt", r"gone\.pt: does not exist; check the path of m, T2w"),
            ("m=T1w:a.pt,b.pt", r"a\.pt,b\.pt: does not exist.*KEY:PATH,KEY:PATH"),
            ("m=T1w:a.pt,t1W:b.pt", "t1W has two paths"),
            ("m=gone:else", "else: does not exist"),
        ],
    )
    def test_refused(self, text: str, said: str) -> None:
        with pytest.raises(argparse.ArgumentTypeError, match=said):
            method(text)
