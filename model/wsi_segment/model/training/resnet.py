"""The segmentation network of Ciga and Martel (Medical Image Analysis 2021, arXiv 1912.12533).

A ResNet-18 cut after ``layer3`` and a small head. One network does both tasks: its logit map is the
segmentation, and :mod:`wsi_segment.model.training.losses` pools the same map to a class vector.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Head = Literal["paper", "lateral"]

OUTPUT_STRIDE: dict[Head, int] = {"paper": 8, "lateral": 4}
UPSAMPLING: dict[Head, Literal["nearest", "bilinear"]] = {"paper": "nearest", "lateral": "bilinear"}

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

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, h, w) to features at stride 4 (64 channels) and at stride 16 (256 channels)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        fine = self.layer1(functional.max_pool2d(x, 3, 2, 1))
        return fine, self.layer3(self.layer2(fine))


class PaperHead(nn.Module):
    """The published head: 3 x 3 convolution, nearest up-sampling by 2, 1 x 1 convolution; stride 8."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(256, 64, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.logits = nn.Conv2d(64, classes, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Map features to logits (B, classes, h / 8, w / 8); the fine features are not used."""
        x = functional.relu(self.bn(self.conv(coarse)))
        out: Tensor = self.logits(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
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

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Map features to logits (B, classes, h / 4, w / 4)."""
        x = functional.relu(self.bn(self.conv(coarse)))
        x = functional.interpolate(x, scale_factor=4.0, mode="bilinear", align_corners=False)
        x = functional.relu(x + self.lateral_bn(self.lateral(fine)))
        out: Tensor = self.logits(functional.relu(self.smooth_bn(self.smooth(x))))
        return out


class SegmentationNetwork(nn.Module):
    """Encoder and head: normalised RGB (B, 3, h, w) to logits (B, classes, h / stride, w / stride)."""

    def __init__(self, classes: int, head: Head = "paper") -> None:
        super().__init__()
        self.output_stride = OUTPUT_STRIDE[head]
        self.upsampling = UPSAMPLING[head]
        self.encoder = Encoder()
        self.head: nn.Module = PaperHead(classes) if head == "paper" else LateralHead(classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits at the output stride."""
        out: Tensor = self.head(*self.encoder(x))
        return out

    def full_size(self, logits: Tensor) -> Tensor:
        """Bring logits at the output stride to one per pixel, by the head's own up-sampling."""
        if self.upsampling == "nearest":
            return functional.interpolate(logits, scale_factor=float(self.output_stride), mode="nearest")
        return functional.interpolate(
            logits, scale_factor=float(self.output_stride), mode="bilinear", align_corners=False
        )
