"""nnU-Net's plain convolutional U-Net, so that its published weights fit: same arithmetic, same names.

After Isensee et al., Nature Methods 2021: convolution, instance norm and leaky ReLU twice a stage; strided
convolutions down, transposed ones up; one head per decoder stage (deep supervision), of which inference
uses the finest. What the network looks like is read off the shapes of its weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

Triple = tuple[int, int, int]

SLOPE = 0.01
_BLOCK = re.compile(r"(encoder|decoder)\.stages\.(\d+)\.(?:0\.)?convs\.(\d+)\.(conv|norm)\.(weight|bias)")
_OTHER = re.compile(r"decoder\.(transpconvs|seg_layers)\.(\d+)\.(weight|bias)")


class Layout(NamedTuple):
    """What must be known to build the network.

    Attributes
    ----------
    widths : tuple of int
        Channels of each stage, the finest first.
    strides, kernels : tuple of (int, int, int)
        Of each stage's first convolution; kernels of all of its convolutions.
    blocks, decoder_blocks : tuple of int
        Convolutions of each encoder stage; of each decoder stage, the coarsest first.
    inputs, outputs : int
        Channels of the image and of the heads.
    bias : bool
        Whether convolutions have one.
    """

    widths: tuple[int, ...]
    strides: tuple[Triple, ...]
    kernels: tuple[Triple, ...]
    blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    inputs: int = 1
    outputs: int = 1
    bias: bool = True


# The contrast-agnostic model (RL, AP, SI), its first releases; from v2.5 on the last two are 384 wide.
PUBLISHED = Layout(
    widths=(32, 64, 128, 256, 320, 320),
    strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2)),
    kernels=((3, 3, 3),) * 6,
    blocks=(2,) * 6,
    decoder_blocks=(2,) * 5,
)


class PlainConvUNet(nn.Module):
    """Image (n, inputs, x, y, z) to the finest head's values (n, outputs, x, y, z), without activation.

    Each axis must be a multiple of the product of its strides.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.stages = nn.Sequential(*_encoder_stages(layout))
        self.decoder = nn.Module()
        descending = list(reversed(layout.widths))
        stages, ups, heads = [], [], []
        for number, (wide, narrow) in enumerate(pairwise(descending)):
            stride, kernel = layout.strides[-1 - number], layout.kernels[-2 - number]
            ups.append(nn.ConvTranspose3d(wide, narrow, stride, stride, bias=layout.bias))
            count = layout.decoder_blocks[number]
            stages.append(_Stack(2 * narrow, narrow, kernel, (1, 1, 1), count, layout.bias))
            heads.append(nn.Conv3d(narrow, layout.outputs, kernel_size=1))
        self.decoder.stages = nn.ModuleList(stages)
        self.decoder.transpconvs = nn.ModuleList(ups)
        self.decoder.seg_layers = nn.ModuleList(heads)

    def forward(self, image: Tensor) -> Tensor:
        """Values of the finest head."""
        return self._heads(image, only_finest=True)[0]

    def supervised(self, image: Tensor) -> list[Tensor]:
        """Values of every head, the finest first: each on its own grid."""
        return self._heads(image, only_finest=False)

    def _heads(self, image: Tensor, only_finest: bool) -> list[Tensor]:
        skips = []
        features = image
        for stage in self.encoder.stages:  # type: ignore[union-attr]
            features = stage(features)
            skips.append(features)
        skips.pop()
        found: list[Tensor] = []
        parts = (self.decoder.stages, self.decoder.transpconvs, self.decoder.seg_layers)
        for stage, up, head in zip(*parts, strict=True):  # type: ignore[arg-type]
            features = stage(torch.cat([up(features), skips.pop()], dim=1))
            if not skips or not only_finest:
                found.insert(0, head(features))
        return found


def layout_of(state: Mapping[str, Tensor]) -> Layout:
    """Read the layout off a state dictionary of :func:`own_names`.

    Raises
    ------
    ValueError
        If these are not the weights of such a network in 3-D.
    """
    strange = [name for name in state if not (_BLOCK.fullmatch(name) or _OTHER.fullmatch(name))]
    if strange or not state:
        raise ValueError(f"{strange[0] if strange else 'nothing'} is no part of a plain convolutional U-Net")
    found: dict[str, dict[int, list[Tensor]]] = {"encoder": {}, "decoder": {}}
    for name, tensor in state.items():
        parts = _BLOCK.fullmatch(name)
        if parts and parts[4] == "conv" and parts[5] == "weight":
            if tensor.ndim != 5:
                raise ValueError(f"{name} has {tensor.ndim - 2} spatial dimensions, not 3")
            found[parts[1]].setdefault(int(parts[2]), []).append(tensor)
    down, up = ([found[side][n] for n in sorted(found[side])] for side in ("encoder", "decoder"))
    count = len(down)
    if count < 2 or len(up) != count - 1:
        raise ValueError(f"{count} encoder and {len(up)} decoder stages do not fit together")
    try:
        steps = [_triple(state[f"decoder.transpconvs.{n}.weight"].shape[2:]) for n in range(count - 1)]
        heads = state[f"decoder.seg_layers.{count - 2}.weight"]
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from error
    return Layout(
        widths=tuple(int(stage[0].shape[0]) for stage in down),
        strides=((1, 1, 1), *reversed(steps)),
        kernels=tuple(_triple(stage[0].shape[2:]) for stage in down),
        blocks=tuple(len(stage) for stage in down),
        decoder_blocks=tuple(len(stage) for stage in up),
        inputs=int(down[0][0].shape[1]),
        outputs=int(heads.shape[0]),
        bias="encoder.stages.0.0.convs.0.conv.bias" in state,
    )


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dictionary under the names used here: without prefixes and without its repetitions.

    The original registers every convolution twice, and the encoder within the decoder once more.
    """
    bare = {name.removeprefix("net.").removeprefix("module."): tensor for name, tensor in state.items()}
    return {
        name: tensor
        for name, tensor in bare.items()
        if ".all_modules." not in name and not name.startswith("decoder.encoder.")
    }


def build(state: Mapping[str, Tensor]) -> PlainConvUNet:
    """The network with these weights, ready to infer.

    Raises
    ------
    ValueError
        If they are not the weights of such a network.
    """
    own = {name: tensor.float() for name, tensor in own_names(state).items()}
    network = PlainConvUNet(layout_of(own))
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error
    return network.eval().requires_grad_(False)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: Triple, bias: bool) -> None:
        super().__init__()
        padding = tuple((size - 1) // 2 for size in kernel)
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=bias)  # type: ignore[arg-type]
        self.norm = nn.InstanceNorm3d(outputs, eps=1e-5, affine=True)

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.norm(self.conv(image)), SLOPE)


class _Stack(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: Triple, stride: Triple, count: int, bias: bool
    ) -> None:
        super().__init__()
        blocks = [_Block(inputs, outputs, kernel, stride, bias)]
        blocks += [_Block(outputs, outputs, kernel, (1, 1, 1), bias) for _ in range(count - 1)]
        self.convs = nn.Sequential(*blocks)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.convs(image)
        return out


def _encoder_stages(layout: Layout) -> list[nn.Sequential]:
    inputs = (layout.inputs, *layout.widths[:-1])
    each = zip(inputs, layout.widths, layout.kernels, layout.strides, layout.blocks, strict=True)
    return [nn.Sequential(_Stack(*sizes, layout.bias)) for sizes in each]


def _triple(values: torch.Size) -> Triple:
    x, y, z = (int(value) for value in values)
    return x, y, z
