"""Label maps and CTs in files: NIfTI, NRRD, MetaImage, and 3D Slicer's ``.seg.nrrd``.

Voxels stay in the file's own order; the affine says where they are. A file is written beside its final
name and moved there when complete, so a crash leaves no half file.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import Opener
from nibabel.spatialimages import HeaderDataError

from maisi.errors import InputError
from maisi.labels import LABELS, find_label, find_terminology, map_ids, merge
from maisi.volume import ImageVolume, LabelVolume, Volume

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
WRITABLE = (*NIFTI, ".nrrd", ".mha")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # unreadable files are reported by exception


def read_labels(path: str | os.PathLike, source: str | Mapping[int, int] = "maisi") -> LabelVolume:
    """The label map in ``path`` as MAISI ids.

    In a ``.seg.nrrd`` the segments' ``MAISI.Label`` tags, SNOMED CT codes and names decide, whatever their values,
    because 3D Slicer numbers segments 1, 2, 3 ... by itself; overlaps are resolved as in :func:`maisi.labels.merge`.

    Args:
        source: numbering of the values in other files: "maisi", "totalsegmentator", "vista3d", or a table of value and
            MAISI id.

    Raises:
        InputError: the file is missing, damaged, not 3D, or holds fractions; or ids or segments, which are named, are
            not known.
    """
    path = _existing(path)
    if path.name.endswith(".seg.nrrd"):
        return _read_segmentation(path)
    values = read_values(path)
    return LabelVolume(map_ids(values.array, source), values.affine)


def read_values(path: str | os.PathLike) -> Volume:
    """The whole numbers in the label map ``path``, int32, as they are stored.

    Raises:
        InputError: the file is missing, damaged, not 3D, or holds fractions.
    """
    path = _existing(path)
    array, affine = _read(path)
    if array.dtype.kind not in "buif":
        raise InputError(f"{path} holds {array.dtype} values; a label map must hold whole numbers.")
    if not np.array_equal(np.rint(array), array):
        raise InputError(f"{path} holds fractions, so it is an image or a probability map; give whole label ids.")
    return Volume(np.clip(array, -(2**31), 2**31 - 1).astype(np.int32), affine)


def read_image(path: str | os.PathLike) -> ImageVolume:
    """The CT in ``path``: int16 HU where its values are whole numbers, else float32.

    Raises:
        InputError: the file is missing, damaged, not 3D, or holds values that are not finite.
    """
    path = _existing(path)
    array, affine = _read(path)
    if array.dtype.kind not in "uif":
        raise InputError(f"{path} holds {array.dtype} values; a CT must hold numbers in HU.")
    if not np.isfinite(array).all():
        raise InputError(f"{path} holds voxels that are not a number; replace them, for example by -1000 HU.")
    hu = np.clip(array, -32768, 32767).astype(np.int16)
    return ImageVolume(hu if np.array_equal(hu, array) else array.astype(np.float32), affine)


def write_volume(path: str | os.PathLike, volume: Volume, description: str = "") -> None:
    """Write ``volume`` in the format of ``path``'s ending: .nii, .nii.gz, .nrrd or .mha.

    Args:
        description: stands in the file's header (a NIfTI header holds 79 letters).

    Raises:
        InputError: the ending is not one of these, the folder is missing or not writable, or the disk is full.
    """
    with whole_file(check_writable(path)) as part:
        _save(part, volume, description)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A file to write, with the ending of ``path``, that becomes ``path`` when the block ends without an error.

    Raises:
        InputError: the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".maisi-") as folder:
            part = Path(folder) / ("part" + _ending(path))
            yield part
            os.replace(part, path)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} could not be written: {error}.") from error


def write_json(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Write ``content`` as indented JSON, whole or not at all. Raises InputError when that cannot be done."""
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _save(path: Path, volume: Volume, description: str) -> None:
    if path.name.endswith(NIFTI):
        image = nib.Nifti1Image(volume.array, volume.affine)
        image.header["descrip"] = description.encode("ascii", "replace")[:79]
        nib.save(image, path)
    else:
        image = _to_itk(volume)
        image["description"] = description
        sitk.WriteImage(image, path, useCompression=True)


def check_writable(path: str | os.PathLike) -> Path:
    """``path`` itself if :func:`write_volume` can write there, else InputError. Ask before a long computation."""
    path = Path(path)
    if _ending(path) not in WRITABLE or path.name.endswith(".seg.nrrd"):
        raise InputError(f"{path} has no ending that can be written; use one of {', '.join(WRITABLE)}.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it or choose another.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"The folder {path.parent} is not writable ({error.strerror}); choose another.") from error
    return path


# ---- reading


def _ending(path: Path) -> str:
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def _existing(path: str | os.PathLike) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no file {path}.")
    if path.is_dir() or _ending(path) not in NIFTI + ITK:
        raise InputError(f"{path} is not a volume file; give one of {', '.join((*NIFTI, *ITK))}.")
    return path


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """``[I, J, K]`` voxels as stored, and the affine."""
    if _ending(path) in NIFTI:
        try:
            image = nib.load(path)
            array, affine = np.asanyarray(image.dataobj), image.affine
        except (ImageFileError, HeaderDataError, EOFError, OSError, ValueError, zlib.error) as error:
            raise InputError(f"{path} cannot be read as an image; it may be damaged or incomplete.") from error
        _check_spacing(path, image)
    else:
        image = _read_itk(path)
        array, affine = _itk_array(image), _itk_affine(image)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise InputError(f"{path} has {array.ndim} dimensions {array.shape}; give a single 3D volume.")
    return array, affine


def _check_spacing(path: Path, image: nib.Nifti1Image) -> None:
    """nibabel repairs a zero or negative spacing in silence, where nothing else tells the voxel size."""
    with Opener(path) as file:
        header = image.header_class.from_fileobj(file, check=False)
    if header["sform_code"] == 0 and not (header["pixdim"][1:4] > 0).all():
        told = " x ".join(f"{mm:g}" for mm in header["pixdim"][1:4])
        raise InputError(f"{path} has a voxel spacing of {told} mm; set a spacing in mm greater than zero.")


def _read_itk(path: Path) -> sitk.Image:
    try:
        return sitk.ReadImage(path)
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read as an image; it may be damaged or incomplete.") from error


def _itk_array(image: sitk.Image) -> np.ndarray:
    """``[I, J, K]``, with a fourth axis for vector components."""
    array = sitk.GetArrayFromImage(image)  # [K, J, I] and then the components
    spatial = tuple(reversed(range(image.GetDimension())))
    return array.transpose(*spatial, *range(image.GetDimension(), array.ndim))


def _itk_affine(image: sitk.Image) -> np.ndarray:
    lps = np.eye(4)
    n = min(image.GetDimension(), 3)
    direction = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)
    lps[:n, :n] = (direction * image.GetSpacing())[:n, :n]
    lps[:n, 3] = image.GetOrigin()[:n]
    return _LPS_TO_RAS @ lps


def _to_itk(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.transpose(2, 1, 0)))
    lps = _LPS_TO_RAS @ volume.affine
    image.SetSpacing(volume.spacing.tolist())
    image.SetDirection((lps[:3, :3] / volume.spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


# ---- 3D Slicer's segmentation files


def _read_segmentation(path: Path) -> LabelVolume:
    image = _read_itk(path)
    array = _itk_array(image)
    array = array if array.ndim == 4 else array[..., np.newaxis]
    segments = list(_segments(image))
    unknown = [segment.name for segment in segments if not segment.ids]
    if unknown:
        raise InputError(
            f"{path} has segments that are not understood: {', '.join(unknown)}; rename them (for example to "
            '"left kidney") or remove them.'
        )
    for segment in segments:
        if len(segment.ids) > 1:
            says, means = (LABELS[id_].name for id_ in segment.ids)
            raise InputError(
                f'The segment "{segment.name}" of {path} is {says} by its terminology but {means} by its name; '
                "make them agree."
            )
    layers = [(array[..., segment.layer] == segment.value, segment.ids[0]) for segment in segments]
    return LabelVolume(merge(layers, array.shape[:3]), _itk_affine(image))


class _Segment(NamedTuple):
    """``ids``: what it is understood to be; one id, or none, or two that contradict each other."""

    name: str
    ids: tuple[int, ...]
    layer: int
    value: int


def _segments(image: sitk.Image) -> Iterator[_Segment]:
    """The segments of the file's header. Slicer 4.10 and older wrote a layer for each."""
    header = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    count = 0
    while f"Segment{count}_ID" in header:
        get = {key.partition("_")[2]: value for key, value in header.items() if key.startswith(f"Segment{count}_")}
        name = get.get("Name", get["ID"])
        tags = dict(tag.partition(":")[::2] for tag in get.get("Tags", "").split("|"))
        yield _Segment(name, _understood(name, tags), int(get.get("Layer", count)), int(get.get("LabelValue", 1)))
        count += 1


def _understood(name: str, tags: dict[str, str]) -> tuple[int, ...]:
    tag = tags.get("MAISI.Label", "")
    if tag.isdecimal() and int(tag) in LABELS:
        return (int(tag),)
    found = find_terminology(*_codes(tags.get("TerminologyEntry", ""))), find_label(name)
    return tuple(dict.fromkeys(id_ for id_ in found if id_ is not None))


def _codes(entry: str) -> list[str]:
    """Category, type, type modifier, region, region modifier of ``context~SCT^123^Meaning~...``; "" where absent."""
    fields = [part.split("^") for part in entry.split("~")]
    values = [field[1] if len(field) == 3 else "" for field in fields] + [""] * 7
    return [*values[1:4], *values[5:7]]
