"""The simulations behind outlier flags and narrowings: what they plant is there, and told where gross."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cord_phantoms import cylinder

from bench import apart
from softseg_bids.stats.outliers import OTHER_CONTRASTS, outliers

SPACING = np.array([1.0, 1.0, 1.0])


def test_one_image_a_person_is_too_small_by_what_was_said() -> None:
    rng = np.random.default_rng(1)
    sound = apart.study(rng, 40, 4)
    wrong, images = apart.planted(rng, sound)
    share = (wrong["area_mm2"] / sound["area_mm2"]).groupby(sound["source_image"]).agg(["min", "max"])
    assert sorted(images.values()) == sorted(apart.PLANTED_PERCENT)
    for image in share.index:
        assert share.loc[image].to_numpy() == pytest.approx(1 - images.get(image, 0) / 100)
    whose = sound.set_index("source_image")["participant_id"]
    assert len({int(whose[image].iloc[0]) for image in images}) == len(images)
    flags = outliers(wrong)["flags"]
    gross = [image for image, percent in images.items() if percent >= 20]
    assert all(OTHER_CONTRASTS in flags[image] for image in gross)


def test_sound_studies_have_the_spread_they_say() -> None:
    frame = apart.study(np.random.default_rng(2), 400, 10)
    image = frame.groupby("source_image")["area_mm2"].mean().to_numpy().reshape(400, apart.CONTRASTS)
    own = image - image.mean(axis=1, keepdims=True) - image.mean(axis=0) + image.mean()
    expected = np.hypot(apart.IMAGE_SD, apart.REGION_SD / 2)
    assert own.std() * np.sqrt(5 / 4) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("share", [0.75, 0.5])
def test_a_narrowing_is_as_deep_as_was_said(share: float) -> None:
    soft = cylinder((1.0, 1.0, 1.0), height_mm=90.0, finer=3)
    least, found = apart.narrowest(apart.narrowed(soft, SPACING, share), SPACING)
    assert least == pytest.approx(share, abs=0.04) and found == 1
    least, found = apart.narrowest(soft, SPACING)
    assert least > 0.97 and found == 0


def test_no_cord_has_no_ratio() -> None:
    assert np.isnan(apart.narrowest(np.zeros((20, 20, 40), dtype=np.float32), SPACING)[0])


def test_tables_are_written_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- apart:begin -->\nold\n<!-- apart:end -->\nafter\n")
    monkeypatch.setattr(apart, "narrow_shares", lambda count: [f"{count} bodies"])
    monkeypatch.setattr("sys.argv", ["apart", "--studies", "1", "--bodies", "3", "--write", str(page)])
    assert apart.main() == 0
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text and "3 bodies" in text
    assert text.count(f"`{OTHER_CONTRASTS}`") == len(apart.PLANTED_PERCENT) + 1
