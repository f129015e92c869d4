"""One picture of an edit: before, after and difference in three planes. Needs only numpy and VTK, and no screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from maisi.errors import InputError
from maisi.volume import ImageVolume
from MAISILib.Translate import _

HEIGHT, GAP, TEXT_HEIGHT = 320, 6, 26  # pixels
WINDOW, LEVEL = 300.0, 60.0  # HU, a window for the liver
DIFFERENCE_RANGE = 70.0  # HU that are shown in full color
OUTLINE = np.array([60, 235, 130], np.uint8)
PLANES = {"Axial": 2, "Coronal": 1, "Sagittal": 0}  # the axis that is cut


def savePicture(
    path: Path, before: ImageVolume, after: ImageVolume, lesionBefore: np.ndarray, lesionAfter: np.ndarray
) -> None:
    """Write a PNG of slices through the lesion, its outline on them; patient's right on the left, as radiologists look.

    Args:
        before, after: CTs on the same axis-aligned RAS grid. lesionBefore, lesionAfter: bool ``[I, J, K]``.

    Raises:
        InputError: the file cannot be written.
    """
    center = np.argwhere(lesionAfter).mean(0).round().astype(int)
    difference = after.array.astype(float) - before.array
    columns = []
    for plane, axis in PLANES.items():
        size = _size(before, axis)

        def cut(array: np.ndarray, axis: int = axis, size: tuple[int, int] = size) -> np.ndarray:
            return _resized(_slice(array, axis, center), size)

        panels = {
            "before": _outlined(_gray(cut(before.array)), cut(lesionBefore)),
            "after": _outlined(_gray(cut(after.array)), cut(lesionAfter)),
            "difference": _blueRed(cut(difference), _gray(cut(before.array))),
        }
        columns.append(np.vstack([_framed(_titled(image, f"{plane}, {title}")) for title, image in panels.items()]))
    _write(path, np.hstack(columns))


def _slice(array: np.ndarray, axis: int, center: np.ndarray) -> np.ndarray:
    """``[rows, columns]``, top left is the patient's right, in the sagittal plane anterior."""
    return np.take(array, center[axis], axis).T[::-1, ::-1].astype(float)


def _size(image: ImageVolume, axis: int) -> tuple[int, int]:
    """Pixels (rows, columns) of a panel that keeps the proportions in mm."""
    width, height = np.delete(image.field_of_view, axis)
    return HEIGHT, round(HEIGHT * width / height)


def _resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``array`` of any size interpolated to ``size`` pixels."""
    resize = vtk.vtkImageResize()
    resize.SetInputData(_toImage(array[..., None]))
    resize.SetInterpolator(vtk.vtkImageInterpolator())  # linear; the default overshoots at edges
    resize.SetOutputDimensions(size[1], size[0], 1)
    resize.Update()
    return vtk_to_numpy(resize.GetOutput().GetPointData().GetScalars()).reshape(size)


def _gray(hu: np.ndarray) -> np.ndarray:
    gray = ((hu - LEVEL) / WINDOW + 0.5).clip(0, 1) * 255
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def _blueRed(difference: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Blue where the CT became darker, red where brighter, over a faint ``background``."""
    value = (difference / DIFFERENCE_RANGE).clip(-1, 1)
    colors = np.stack([value.clip(0), 0.35 * value**2, (-value).clip(0)], axis=-1) * 255
    return np.maximum(colors, 0.25 * background).astype(np.uint8)


def _outlined(image: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """The image with a line of two pixels just outside the voxels of the lesion."""
    mask = grown = lesion > 0.5
    for _step in range(2):
        grown = np.logical_or.reduce([np.roll(grown, step, axis) for axis in (0, 1) for step in (-1, 0, 1)])
    image[grown & ~mask] = OUTLINE
    return image


def _titled(image: np.ndarray, title: str) -> np.ndarray:
    style = vtk.vtkTextProperty()
    style.SetFontSize(16)
    drawn = vtk.vtkImageData()
    vtk.vtkTextRenderer.GetInstance().RenderString(style, title, drawn, [0, 0], 72)
    columns, rows, _depth = drawn.GetDimensions()
    text = vtk_to_numpy(drawn.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, 3]  # opacity
    text = text[text.any(1)][:TEXT_HEIGHT, : image.shape[1] - GAP]
    bar = np.zeros((TEXT_HEIGHT, image.shape[1]), np.uint8)
    top = (TEXT_HEIGHT - text.shape[0]) // 2
    bar[top : top + text.shape[0], GAP : GAP + text.shape[1]] = text
    return np.vstack([np.repeat(bar[..., None], 3, axis=2), image])


def _framed(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((0, GAP), (0, GAP), (0, 0)))


def _toImage(array: np.ndarray) -> vtk.vtkImageData:
    """``[rows, columns, components]`` -> VTK image, first row first."""
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[1], array.shape[0], 1)
    scalars = numpy_to_vtk(np.ascontiguousarray(array).reshape(-1, array.shape[2]), deep=True)
    image.GetPointData().SetScalars(scalars)
    return image


def _write(path: Path, image: np.ndarray) -> None:
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(_toImage(image[::-1]))  # VTK counts rows from the bottom
    writer.Write()
    if writer.GetErrorCode():
        raise InputError(_("{path} cannot be written; choose a folder that you may write to.").format(path=path))
