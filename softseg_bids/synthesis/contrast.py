"""How bright each tissue is: a random sequence, drawn as values, then painted on a scene.

Most draws stay near a known sequence (so that usual images are usual), a third are free (so that
no intensity can be relied upon). What matters most is the step between CSF and cord; its
size and sign are redrawn on their own, down to none at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from softseg_bids.synthesis.anatomy import INDEX, TISSUES, Scene
from softseg_bids.synthesis.geometry import smooth_noise

# Signals relative to the brightest tissue, read off typical images at 1.5 and 3 T, rounded.
# Order: air muscle fat organ vessel vein marrow disc cortex ligament epidural dura csf root white
#        grey lesion syrinx brain skull tissue_a tissue_b tissue_c tissue_d gullet cerebellum pia
# The pia is known least. Published masks of the same cords are larger on T2w and T2*w than on diffusion
# images (Bédard et al. 2025: a binary model of each contrast), where nothing but the cord is bright: it is
# drawn like the cord in the former, like fluid in the latter, and between them else.
SEQUENCES: dict[str, tuple[float, ...]] = {
    "T1w": (.02, .45, .95, .45, .35, .40, .60, .35, .10, .15, .85, .25, .18, .55, .72,
            .62, .55, .22, .60, .30, .40, .55, .35, .50, .40, .62, .60),
    "T2w": (.02, .14, .45, .30, .06, .25, .24, .40, .04, .07, .45, .10, .95, .40, .36,
            .43, .60, .90, .45, .12, .12, .25, .30, .18, .25, .42, .36),
    "PDw": (.03, .45, .70, .50, .15, .40, .45, .50, .08, .12, .70, .20, .72, .60, .58,
            .68, .75, .70, .70, .25, .45, .55, .50, .40, .45, .66, .62),
    "T2starw": (.02, .40, .35, .40, .75, .60, .15, .50, .05, .15, .35, .20, .92, .55, .50,
                .62, .68, .90, .62, .12, .35, .45, .42, .30, .35, .60, .49),
    "MTon": (.02, .24, .92, .35, .80, .60, .48, .35, .06, .12, .80, .18, .42, .27, .26,
             .30, .38, .42, .30, .18, .25, .38, .30, .28, .30, .30, .34),
    "MToff": (.02, .50, .90, .50, .85, .70, .48, .45, .06, .15, .85, .22, .42, .56, .62,
              .64, .66, .44, .64, .22, .48, .55, .45, .52, .48, .63, .48),
    "GRET1w": (.02, .42, .95, .45, .90, .65, .55, .40, .06, .14, .88, .22, .24, .55, .66,
               .60, .58, .26, .62, .25, .42, .52, .40, .45, .42, .60, .37),
    "DWI": (.02, .10, .10, .12, .05, .08, .08, .12, .03, .05, .10, .08, .12, .35, .85,
            .76, .90, .12, .85, .05, .10, .15, .12, .08, .12, .85, .12),
    "FLAIR": (.02, .30, .60, .40, .10, .30, .35, .25, .05, .10, .55, .18, .10, .45, .52,
              .66, .90, .12, .65, .20, .30, .40, .35, .28, .35, .62, .30),
    "STIR": (.02, .30, .06, .45, .08, .45, .12, .50, .04, .08, .08, .15, .98, .52, .48,
             .56, .80, .95, .55, .10, .28, .40, .35, .25, .40, .54, .50),
}  # fmt: skip
# How often each is drawn: most for what is scanned most, and for DWI, the one without visible CSF.
SHARES = np.array([1.3, 1.3, 0.6, 1.1, 1, 1, 1, 3.0, 0.5, 0.6])
SHARES /= SHARES.sum()
# A step between CSF and cord below this share of the brighter one teaches little but doubt, even about plain
# bright cords: most such draws are made anew. Real sequences lie above 0.25, magnetisation transfer lowest.
FAINT, FAINT_KEPT = 0.2, 0.1
# Share of images of short echo in which fluid flows in.
INFLOW_SHARE = 0.2
CORD_TISSUES = tuple(INDEX[name] for name in ("white", "grey", "lesion", "root"))


class Inflow(NamedTuple):
    """Fluid that flowed in from the ends has not felt the pulses before: it is brighter there.

    Attributes
    ----------
    signal, share : float
        Of fresh fluid, and how much of the fluid it becomes.
    above_mm, below_mm : float
        How far above and below the middle of the view it is half so much.
    over_mm : float
        Over what length it changes.
    """

    signal: float
    share: float
    above_mm: float
    below_mm: float
    over_mm: float


class Contrast(NamedTuple):
    """A drawn sequence: per tissue mean signal and texture, all in units of a bright tissue.

    Attributes
    ----------
    name : str
        The sequence it started from, or ``"free"``.
    signal, rough, mottle : ndarray, shape (len(TISSUES),)
        Mean, amplitude of fine texture, amplitude of smooth variation.
    seed : int
        Of the textures.
    inflow : Inflow or None
        Whether fluid is fresh, and so bright, towards an end of the view.
    """

    name: str
    signal: NDArray[np.float64]
    rough: NDArray[np.float64]
    mottle: NDArray[np.float64]
    seed: int
    inflow: Inflow | None = None

    @property
    def cord_step(self) -> float:
        """How far CSF and cord (its white matter) differ, in units of a bright tissue."""
        return float(abs(self.signal[INDEX["csf"]] - self.signal[INDEX["white"]]))

    @property
    def is_faint(self) -> bool:
        """Whether that step is a small share of the brighter of the two."""
        brighter = max(self.signal[INDEX["csf"]], self.signal[INDEX["white"]])
        return bool(self.cord_step < FAINT * brighter)


def draw_contrast(rng: Generator, name: str | None = None, strength: float = 1.0) -> Contrast:
    """Draw a sequence.

    Parameters
    ----------
    rng : numpy Generator
    name : str, optional
        Stay near this entry of ``SEQUENCES``; otherwise one is drawn, or none of them.
    strength : float
        Scales the departures from the named sequence; 0 gives exactly its signals.
    """
    while True:
        contrast = _draw(rng, name, strength)
        if strength == 0 or not contrast.is_faint or rng.random() < FAINT_KEPT:
            return contrast


def _draw(rng: Generator, name: str | None, strength: float) -> Contrast:
    n = len(TISSUES)
    free = name is None and rng.random() < 0.3
    if name is None:
        name = "free" if free else str(rng.choice(list(SEQUENCES), p=SHARES))
    if free:
        signal = rng.uniform(0.03, 1.0, n)
        cord = rng.uniform(0.1, 1.0)
        for tissue in CORD_TISSUES:
            signal[tissue] = cord * rng.normal(1, 0.1)
        signal[INDEX["air"]] = rng.uniform(0, 0.08)
        signal[INDEX["cortex"]] *= rng.uniform(0.05, 1.0)
        signal[INDEX["csf"]] = _free_csf(rng, cord)
        signal[INDEX["pia"]] = rng.uniform(*sorted((cord, signal[INDEX["csf"]])))
    else:
        signal = np.array(SEQUENCES[name]) * np.exp(rng.normal(0, 0.2 * strength, n))
        signal = signal + rng.normal(0, 0.03 * strength, n)
        cord = signal[INDEX["white"]]
        # Shrink or stretch the step between CSF and cord, keeping its sign.
        change = rng.uniform(-0.6, 0.3)
        if name == "DWI" and change > -0.5:
            # Few diffusion images leave fluid visible: a bright ellipse is a cord, not a sac around one.
            change = max(change, 0.0)
        signal[INDEX["csf"]] = cord + (signal[INDEX["csf"]] - cord) * (1 + strength * change)
        if strength and rng.random() < 0.25:
            within = (*CORD_TISSUES, INDEX["csf"], INDEX["syrinx"], INDEX["pia"])
            outside = np.array([t not in within for t in range(n)])
            signal = np.where(outside, signal * rng.uniform(0.15, 1.0), signal)  # saturation bands, far coils
    white, grey = INDEX["white"], INDEX["grey"]
    signal[grey] = signal[white] + (signal[grey] - signal[white]) * (1 + strength * rng.uniform(-1.0, 2.0))
    if rng.random() < (0.2 if name == "DWI" else 0.5) * strength:
        signal[INDEX["root"]] = rng.uniform(signal[white] * 0.6, max(signal[INDEX["csf"]], signal[white]))
    rough = rng.uniform(0.0, 0.10, n) * strength
    mottle = rng.uniform(0.0, 0.22, n) * strength
    mottle[INDEX["csf"]] *= rng.choice([0.3, 1.5]) if strength else 1.0  # pulsation
    seed = int(rng.integers(2**31))
    subtle = np.random.default_rng(seed)
    if name == "DWI":
        # Means of magnitudes: noise lifts what is dark; at 3 T a third of the cord's signal was measured.
        floor = strength * subtle.uniform(0, 0.45) * signal[white]
        signal = np.hypot(signal, floor)
    # A cord is smoother than what surrounds it, but now and then patchy, in diffusion images mostly.
    patchy = subtle.random() < (0.6 if name == "DWI" else 0.2)
    rough[list(CORD_TISSUES)] *= 1.0 if patchy else 0.3
    mottle[list(CORD_TISSUES)] *= subtle.uniform(0.6, 1.6) if patchy else 0.35
    inflow = None
    if strength and subtle.random() < INFLOW_SHARE and name not in ("DWI", "T2w", "STIR"):
        above, below = subtle.uniform(-10, 60), subtle.uniform(0, 70)
        inflow = Inflow(
            subtle.uniform(0.6, 1.1), subtle.uniform(0.4, 1.0), above, below, subtle.uniform(1, 8)
        )
    return Contrast(name, signal.clip(0, 1.3), rough, mottle, seed, inflow)


def paint(scene: Scene, contrast: Contrast, spacing_mm: tuple[float, float, float]) -> Tensor:
    """Signal of each voxel of a scene, before any scanner: shape of ``scene.cord``, about 0 to 1.3."""
    device = scene.cord.device
    random = torch.Generator(device=device)
    random.manual_seed(contrast.seed)
    shape = tuple(scene.cord.shape)
    fine = smooth_noise(shape, spacing_mm, 1.6, random)
    broad = smooth_noise(shape, spacing_mm, 7.0, random)
    signal, rough, mottle = (
        torch.as_tensor(values, dtype=torch.float32, device=device)
        for values in (contrast.signal, contrast.rough, contrast.mottle)
    )
    ground = signal[scene.base] * (1 + rough[scene.base] * 2 * fine + mottle[scene.base] * broad)
    for layer in scene.layers:
        tissue = INDEX[layer.tissue]
        value = float(contrast.signal[tissue]) * (
            1 + float(contrast.rough[tissue]) * fine + float(contrast.mottle[tissue]) * broad
        )
        if layer.tissue == "csf" and contrast.inflow is not None:
            value = _freshened(value, contrast.inflow, scene.along_mm)
        ground = torch.lerp(ground, value, layer.alpha)
    return ground.clamp_min(0)


def _freshened(fluid: Tensor, inflow: Inflow, along_mm: Tensor) -> Tensor:
    low, high = along_mm.aminmax()
    up_mm = 0.5 * (low + high) - along_mm
    above, below = up_mm - inflow.above_mm, -up_mm - inflow.below_mm
    weight = inflow.share * (torch.maximum(above, below) / inflow.over_mm).sigmoid()
    return torch.lerp(fluid, torch.full_like(fluid, inflow.signal), weight)


def _free_csf(rng: Generator, cord: float) -> float:
    part = rng.random()
    if part < 0.45:
        return cord + rng.uniform(0.12, 0.9)
    if part < 0.88:
        return max(cord - rng.uniform(0.1, 0.8), 0.02)
    return max(cord + rng.uniform(-0.1, 0.1), 0.02)
