"""Pictures of any size become the network's square within a graph, with Pillow's own pixels.

The resize of ONNX gives other pixels than Pillow's, most of all for "bicubic". Here each pass of
Pillow is a product with a matrix, whose whole numbers are those of Pillow: so the pixels are the
same ones, where the runtime computes in float64 as it is told to.

Source: `Resample.c` of Pillow 12 and 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import PIL
import torch
from torch import Tensor, nn

from sktransfer.images.preprocessing import MAX_STRETCH, Preprocessing

_PILLOW = int(PIL.__version__.split(".")[0])
# Pillow keeps weights as whole numbers of 1 / 2**22.
_UNIT = 2.0**22


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


_FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


@dataclass(frozen=True)
class _Axis:
    """How the square's pixels lie along one axis of a picture; all in float64.

    Parameters
    ----------
    n_in : Tensor of shape ()
        Pixels of the picture.
    n_out : Tensor of shape ()
        Pixels of the picture, or of the box, once resized.
    first : Tensor of shape ()
        The resized pixel at which the square begins; negative where it is padded.
    box : tuple of two Tensor of shape ()
        Begin and end of the part of the picture that is resized.
    """

    n_in: Tensor
    n_out: Tensor
    first: Tensor
    box: tuple[Tensor, Tensor]

    def weights(self, preset: Preprocessing, length: int) -> Tensor:
        """Weights (side, length) of the picture's pixels in those of the square."""
        interpolation, side = preset.interpolation, preset.crop_size
        begin, end = self.box
        scale = (end - begin) / self.n_out
        centers = begin + (torch.arange(side, dtype=torch.float64) + self.first + 0.5) * scale
        pixels = torch.arange(length, dtype=torch.float64)
        if interpolation == "nearest":
            nearest = torch.floor(_stepped(begin, scale, self.first, preset))
            return (pixels == nearest[:, None]).double() * _UNIT
        distances = pixels - centers[:, None] + 0.5
        weights = _FILTERS[interpolation](distances * (1 / scale.clamp(min=1)))
        total = weights.sum(1, keepdim=True)
        # Without weights lie the pixels outside of the picture, which are filled afterwards.
        shares = weights / torch.where(total == 0, 1.0, total) * _UNIT
        return torch.where(shares < 0, torch.ceil(shares - 0.5), torch.floor(shares + 0.5))


def _stepped(begin: Tensor, step: Tensor, first: Tensor, preset: Preprocessing) -> Tensor:
    """Positions (side,) of the pixels from `first` on, added up one by one as for "nearest"."""
    # A product would now and then be rounded to the other side of a pixel's border.
    n = max(preset.resize_size, preset.crop_size)
    places = (torch.arange(preset.crop_size, dtype=torch.float64) + first).clamp(0, n)
    steps = torch.cat([(begin + step * 0.5)[None], step.expand(n)])
    return steps.cumsum(0).index_select(0, places.long())


class Square(nn.Module):
    """From pictures (n, h, w, c) to squares (n, side, side, c), uint8 as `Preprocessing` does.

    Parameters
    ----------
    preprocessing : Preprocessing
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    def forward(self, pictures: Tensor) -> Tensor:
        _, height, width, _ = pictures.shape
        sizes = tuple(torch.scalar_tensor(each, dtype=torch.float64) for each in (height, width))
        rows, columns = self._axes(*sizes)
        squares = _resized(
            pictures,
            rows.weights(self.preprocessing, height),
            columns.weights(self.preprocessing, width),
            _rows_come_first(rows, columns),
        )
        return self._filled(squares, rows, columns).to(torch.uint8)

    def _axes(self, height: Tensor, width: Tensor) -> tuple[_Axis, _Axis]:
        """Of the rows and of the columns; see the methods of `Preprocessing` one by one."""
        preset = self.preprocessing
        side = torch.full((), float(preset.crop_size), dtype=torch.float64)
        if preset.resize == "squash":
            none = torch.zeros_like(side)
            return self._whole(height, side, none), self._whole(width, side, none)
        if self._pads:
            return self._centred(height, width, side), self._centred(width, height, side)
        if preset.crop_mode == "squash":
            resized = side - preset.crop_size + preset.resize_size
            first = torch.round((resized - side) / 2)
            return self._whole(height, resized, first), self._whole(width, resized, first)
        return self._cropped(height, width, side)

    @property
    def _pads(self) -> bool:
        preset = self.preprocessing
        return preset.resize == "pad" or (preset.resize, preset.crop_mode) == ("crop", "border")

    @staticmethod
    def _whole(n_in: Tensor, n_out: Tensor, first: Tensor) -> _Axis:
        return _Axis(n_in, n_out, first, (torch.zeros_like(n_in), n_in))

    def _centred(self, n_in: Tensor, other: Tensor, side: Tensor) -> _Axis:
        n_out = torch.round(side * n_in / torch.maximum(n_in, other)).clamp(min=1)
        return self._whole(n_in, n_out, -torch.floor((side - n_out) / 2))

    def _cropped(self, height: Tensor, width: Tensor, side: Tensor) -> tuple[_Axis, _Axis]:
        """The middle; only long pictures are cropped before they are resized by "bicubic"."""
        shorter = torch.minimum(height, width)
        wholes, boxes = [], []
        for n_in in (height, width):
            n_out = torch.floor(self.preprocessing.resize_size * n_in / shorter)
            first = torch.round((n_out - side) / 2)
            wholes.append(self._whole(n_in, n_out, first))
            step = n_in / n_out
            begin = (first * step).clamp(min=0)
            end = torch.minimum((first + side) * step, n_in)
            # Pillow takes a box in float32, and subtracts one end from the other in it.
            begin, end = begin.float(), end.float()
            size = (end - begin).double()
            boxes.append(
                _Axis(n_in, side, torch.zeros_like(side), (begin.double(), begin.double() + size))
            )
        if self.preprocessing.interpolation != "bicubic":
            return boxes[0], boxes[1]
        largest = float(MAX_STRETCH * self.preprocessing.crop_size**2)
        is_whole = wholes[0].n_out * wholes[1].n_out <= largest
        rows, columns = (_either(is_whole, *both) for both in zip(wholes, boxes, strict=True))
        return rows, columns

    def _filled(self, squares: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
        """The squares, padded with colour where they reach over the picture."""
        if not self._pads:
            return squares
        places = torch.arange(self.preprocessing.crop_size, dtype=torch.float64)
        inside = [
            (places + axis.first >= 0) & (places + axis.first < axis.n_out)
            for axis in (rows, columns)
        ]
        whole = inside[0][:, None] & inside[1][None, :]
        if self.preprocessing.resize == "pad":
            colour = _border_colour(squares, whole, rows, columns)
        else:
            mean = [round(255 * value) for value in self.preprocessing.mean]
            colour = torch.tensor(mean, dtype=squares.dtype)
        return torch.where(whole[..., None], squares, colour)


def _either(condition: Tensor, one: _Axis, other: _Axis) -> _Axis:
    def chosen(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition, a, b)

    ends = [chosen(a, b) for a, b in zip(one.box, other.box, strict=True)]
    return _Axis(
        one.n_in, chosen(one.n_out, other.n_out), chosen(one.first, other.first), (ends[0], ends[1])
    )


def _rows_come_first(rows: _Axis, columns: _Axis) -> Tensor:
    """Whether Pillow resizes along columns of pixels first; it rounds between the passes.

    Pillow 12 takes the columns first if a picture is more than 100 times as high as wide, and
    becomes less high. Observed: Pillow 13 decides by the sizes of the whole picture before and
    after.
    """
    if _PILLOW < 13:
        return (rows.n_in > 100 * columns.n_in) & (rows.n_out < rows.n_in)
    saved = columns.n_in - columns.n_out
    return rows.n_in - rows.n_out > (2 * saved).clamp(min=0)


def _resized(pictures: Tensor, rows: Tensor, columns: Tensor, rows_first: Tensor) -> Tensor:
    """Two passes over pictures (n, h, w, c) in Pillow's order, float64 whole numbers."""

    # A copy at the end, since the branches must give tensors of one memory layout.
    def down_then_across(pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        once = _pass(pictures, rows).transpose(1, 2)
        return _pass(once, columns).transpose(1, 2).contiguous()

    def across_then_down(pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        once = _pass(pictures.transpose(1, 2), columns).transpose(1, 2)
        return _pass(once, rows).contiguous()

    branches = (down_then_across, across_then_down)
    if not torch.compiler.is_exporting():  # torch would compile both
        return branches[0 if rows_first else 1](pictures, rows, columns)
    resized: Tensor = torch.cond(rows_first, *branches, (pictures, rows, columns))
    return resized


def _pass(pictures: Tensor, weights: Tensor) -> Tensor:
    """Resize along axis 1, and round to 0..255 as Pillow does."""
    # One large product: pixels of a row and their channels are its columns.
    sums = torch.matmul(weights, pictures.flatten(2).double())
    rounded = torch.floor((sums + _UNIT / 2) / _UNIT).clamp(0, 255)
    return rounded.unflatten(2, pictures.shape[2:])


def _border_colour(squares: Tensor, whole: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
    """The median (n, 1, 1, c) of the outermost pixels of the picture, rounded down."""
    beyond = torch.where(whole[..., None], squares, 256.0)  # sorted behind all pixels
    edges = []
    for axis, each in ((rows, beyond), (columns, beyond.transpose(1, 2))):
        begin = -axis.first
        ends = torch.stack([begin, begin + axis.n_out - 1]).long()
        edges.append(each.index_select(1, ends).flatten(1, 2))
    # Along the last axis: OpenVINO sorts others wrongly where there are several pictures.
    ordered = torch.cat(edges, dim=1).transpose(1, 2).float().contiguous().sort(dim=2).values
    half = rows.n_out + columns.n_out  # half of the number of these pixels
    middle = ordered.index_select(2, torch.stack([half - 1, half]).long())
    return torch.floor(middle.double().sum(2) / 2)[:, None, None, :]
