"""One picture of an edit: before, after and difference in three planes. Needs only numpy and VTK, and no screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from maisi.volume import ImageVolume

HEIGHT, GAP, TEXT_HEIGHT = 300, 6, 26  # pixels
WINDOW, LEVEL = 400.0, 40.0  # HU
DIFFERENCE_RANGE = 150.0  # HU that are shown in full color
OUTLINE = np.array([60, 235, 130], np.uint8)
PLANES = {"Axial": 2, "Coronal": 1, "Sagittal": 0}  # the axis that is cut


def savePicture(
    path: Path, before: ImageVolume, after: ImageVolume, lesionBefore: np.ndarray, lesionAfter: np.ndarray
) -> None:
    """Write a PNG of slices through the lesion, its outline on them; patient's right on the left, as radiologists look.

    Args:
        before, after: CTs on the same axis-aligned RAS grid. lesionBefore, lesionAfter: bool ``[I, J, K]``.

    Raises:
        OSError: the file cannot be written.
    """
    center = np.argwhere(lesionAfter).mean(0).round().astype(int)
    difference = after.array.astype(float) - before.array
    rows = []
    for name, axis in PLANES.items():
        size = _size(before, axis)

        def panel(array: np.ndarray, colors, lesion: np.ndarray, axis: int = axis, size: tuple = size) -> np.ndarray:
            image = colors(_resized(_slice(array, axis, center), size))
            image[_outline(_resized(_slice(lesion.astype(float), axis, center), size) > 0.5)] = OUTLINE
            return image

        panels = {
            f"{name}, before": panel(before.array, _gray, lesionBefore),
            f"{name}, after": panel(after.array, _gray, lesionAfter),
            f"Difference, +/-{DIFFERENCE_RANGE:.0f} HU": panel(difference, _blueRed, lesionAfter),
        }
        rows.append(np.hstack([_framed(_titled(image, title)) for title, image in panels.items()]))
    width = max(row.shape[1] for row in rows)
    _write(path, np.vstack([_padded(row, width) for row in rows]))


def _slice(array: np.ndarray, axis: int, center: np.ndarray) -> np.ndarray:
    """``[rows, columns]``, top left is anterior or superior, and right (or anterior in the sagittal plane)."""
    return np.take(array, center[axis], axis).T[::-1, ::-1].astype(float)


def _size(image: ImageVolume, axis: int) -> tuple[int, int]:
    """Pixels (rows, columns) of a panel that keeps the proportions in mm."""
    width, height = np.delete(image.field_of_view, axis)
    return HEIGHT, round(HEIGHT * width / height)


def _resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``array`` of any size interpolated to ``size`` pixels."""
    resize = vtk.vtkImageResize()
    resize.SetInputData(_toImage(array[..., None]))
    resize.SetOutputDimensions(size[1], size[0], 1)
    resize.Update()
    return vtk_to_numpy(resize.GetOutput().GetPointData().GetScalars()).reshape(size)


def _gray(hu: np.ndarray) -> np.ndarray:
    gray = ((hu - LEVEL) / WINDOW + 0.5).clip(0, 1) * 255
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def _blueRed(hu: np.ndarray) -> np.ndarray:
    """Blue where the CT became darker, red where brighter, black where it is the same."""
    value = (hu / DIFFERENCE_RANGE).clip(-1, 1)
    strength = np.abs(value)
    colors = np.stack([value.clip(0), 0.35 * strength**2, (-value).clip(0)], axis=-1)
    return (colors * 255).astype(np.uint8)


def _outline(mask: np.ndarray) -> np.ndarray:
    """The two outermost pixels of a mask."""
    inner = mask
    for _step in range(2):
        inner = inner & np.logical_and.reduce([np.roll(inner, step, axis) for axis in (0, 1) for step in (-1, 1)])
    return mask & ~inner


def _titled(image: np.ndarray, title: str) -> np.ndarray:
    style = vtk.vtkTextProperty()
    style.SetFontSize(16)
    drawn, size = vtk.vtkImageData(), [0, 0]
    vtk.vtkTextRenderer.GetInstance().RenderString(style, title, drawn, size, 72)
    columns, rows, _depth = drawn.GetDimensions()
    alpha = vtk_to_numpy(drawn.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, 3]
    written = np.argwhere(alpha).max(0) + 1, np.argwhere(alpha).min(0)
    alpha = alpha[written[1][0] : written[0][0], : image.shape[1]]
    bar = np.zeros((TEXT_HEIGHT, image.shape[1]), np.uint8)
    top = (TEXT_HEIGHT - alpha.shape[0]) // 2
    bar[top : top + alpha.shape[0], : alpha.shape[1]] = alpha
    return np.vstack([np.repeat(bar[..., None], 3, axis=2), image])


def _framed(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((0, GAP), (0, GAP), (0, 0)))


def _padded(row: np.ndarray, width: int) -> np.ndarray:
    return np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)))


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
        raise OSError(f"{path} could not be written; is the folder writable?")
