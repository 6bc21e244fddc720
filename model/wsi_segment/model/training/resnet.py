"""The segmentation network of Ciga and Martel (Medical Image Analysis 2021, arXiv 1912.12533).

A ResNet-18 cut after ``layer3`` and a small head. One network does both tasks: its logit map is the
segmentation, and :mod:`wsi_segment.model.training.losses` pools the same map to a class vector.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Head = Literal["paper", "lateral", "unet"]
Upsampling = Literal["nearest", "bilinear"]

OUTPUT_STRIDE: dict[Head, int] = {"paper": 8, "lateral": 4, "unet": 2}
UPSAMPLING: dict[Head, Upsampling] = {"paper": "nearest", "lateral": "bilinear", "unet": "bilinear"}

Features = tuple[Tensor, Tensor, Tensor, Tensor]
"""Features at strides 2, 4, 8 and 16, with 64, 64, 128 and 256 channels: (B, channels, h / stride, w / stride)."""

PIXEL_SCALE = 1 / 128
PIXEL_ZERO_POINT = 255
"""Normalisation ``(pixel - 255) / 128``: white glass is 0, so zero padding continues the glass, and
the whole is one ONNX DequantizeLinear on uint8 pixels."""


def normalise(pixels: Tensor) -> Tensor:
    """Bring uint8 or float pixels in 0..255, any shape, to the network's float32 input."""
    return (pixels.to(torch.float32) - PIXEL_ZERO_POINT) * PIXEL_SCALE


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a residual connection (He et al. 2016)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, h, w) to (B, channels, h / stride, w / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + self.downsample(x))


class Encoder(nn.Module):
    """ResNet-18 up to ``layer3``; parameters carry torchvision's names, so its state dicts load."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))

    def forward(self, x: Tensor) -> Features:
        """Map (B, 3, h, w) to the features of the stem and of each layer."""
        stem = functional.relu(self.bn1(self.conv1(x)))
        first = self.layer1(functional.max_pool2d(stem, 3, 2, 1))
        second = self.layer2(first)
        return stem, first, second, self.layer3(second)


class PaperHead(nn.Module):
    """The published head: 3 x 3 convolution, up-sampling by 2, 1 x 1 convolution; stride 8.

    Published is the bilinear up-sampling with aligned corners, which depends on the size of the map: a network with it
    gives other values in a larger window.
    """

    def __init__(self, classes: int, upsampling: Upsampling = "nearest") -> None:
        super().__init__()
        self._upsampling = upsampling
        self.conv = nn.Conv2d(256, 64, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.logits = nn.Conv2d(64, classes, 1)

    def forward(self, features: Features) -> Tensor:
        """Map features to logits (B, classes, h / 8, w / 8); only the coarsest are used."""
        x = functional.relu(self.bn(self.conv(features[3])))
        aligned = True if self._upsampling == "bilinear" else None
        out: Tensor = self.logits(
            functional.interpolate(x, scale_factor=2.0, mode=self._upsampling, align_corners=aligned)
        )
        return out


class LateralHead(nn.Module):
    """A sharper head: bilinear up-sampling by 4 and one lateral connection from ``layer1``; stride 4."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(256, 64, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.lateral = nn.Conv2d(64, 64, 1, bias=False)
        self.lateral_bn = nn.BatchNorm2d(64)
        self.smooth = nn.Conv2d(64, 64, 3, 1, 1, bias=False)
        self.smooth_bn = nn.BatchNorm2d(64)
        self.logits = nn.Conv2d(64, classes, 1)

    def forward(self, features: Features) -> Tensor:
        """Map features to logits (B, classes, h / 4, w / 4)."""
        x = functional.relu(self.bn(self.conv(features[3])))
        x = functional.interpolate(x, scale_factor=4.0, mode="bilinear", align_corners=False)
        x = functional.relu(x + self.lateral_bn(self.lateral(features[1])))
        out: Tensor = self.logits(functional.relu(self.smooth_bn(self.smooth(x))))
        return out


class UNetStep(nn.Module):
    """One step of a U-Net's way up: up-sampling by 2, the encoder's features beside it, two 3 x 3 convolutions."""

    def __init__(self, channels_in: int, channels_beside: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in + channels_beside, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """Map (B, channels_in, h, w) and (B, channels_beside, 2 h, 2 w) to (B, channels, 2 h, 2 w)."""
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = functional.relu(self.bn1(self.conv1(torch.cat((x, beside), dim=1))))
        return functional.relu(self.bn2(self.conv2(x)))


class UNetHead(nn.Module):
    """The decoder of a U-Net (Ronneberger et al. 2015) on the same encoder, for comparison; stride 2."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.up3 = UNetStep(256, 128, 128)
        self.up2 = UNetStep(128, 64, 64)
        self.up1 = UNetStep(64, 64, 32)
        self.logits = nn.Conv2d(32, classes, 1)

    def forward(self, features: Features) -> Tensor:
        """Map features to logits (B, classes, h / 2, w / 2)."""
        stem, first, second, x = features
        x = self.up1(self.up2(self.up3(x, second), first), stem)
        out: Tensor = self.logits(x)
        return out


class SegmentationNetwork(nn.Module):
    """Encoder and head: normalised RGB (B, 3, h, w) to logits (B, classes, h / stride, w / stride)."""

    def __init__(self, classes: int, head: Head = "paper", head_upsampling: Upsampling = "nearest") -> None:
        super().__init__()
        self.output_stride = OUTPUT_STRIDE[head]
        self.upsampling = UPSAMPLING[head]
        self.encoder = Encoder()
        self.head = _head(classes, head, head_upsampling)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits at the output stride."""
        out: Tensor = self.head(self.encoder(x))
        return out

    def full_size(self, logits: Tensor) -> Tensor:
        """Bring logits at the output stride to one per pixel, by the head's own up-sampling."""
        if self.upsampling == "nearest":
            return functional.interpolate(logits, scale_factor=float(self.output_stride), mode="nearest")
        return functional.interpolate(
            logits, scale_factor=float(self.output_stride), mode="bilinear", align_corners=False
        )


def _head(classes: int, head: Head, upsampling: Upsampling) -> nn.Module:
    if head == "paper":
        return PaperHead(classes, upsampling)
    return LateralHead(classes) if head == "lateral" else UNetHead(classes)
