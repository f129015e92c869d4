"""DICOM: a synthetic image as a series of CT or MR slices, marked as synthetic in every way the standard has.

A label map beside it becomes a DICOM segmentation (:mod:`maisi.outputs.dicom_segmentation`). The objects name no
patient, and nothing about one is made up: name and ID say SYNTHETIC, birth date and sex stay empty. All of a folder is
one study and one frame of reference. Source: DICOM PS3.3 A.3, A.4, C.7.6.1, C.7.6.2, C.8.2.1, C.8.3.1, C.12.1.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

import maisi
from maisi.errors import InputError
from maisi.outputs.origin import Origin
from maisi.volume import ImageVolume, LabelVolume, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

MANUFACTURER = "MAISI for 3D Slicer"
SEGMENTATION = Path("segmentation") / "segmentation.dcm"
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_STRAIGHT = 1e-4  # cosine of the angle between two axes that are told as perpendicular


def write_series(
    folder: str | os.PathLike, image: ImageVolume, origin: Origin, labels: LabelVolume | None = None
) -> list[Dataset]:
    """Write ``image`` as ``folder/0001.dcm`` ..., a slice along K in each, in the order of their positions.

    Values are rounded to whole numbers (int16 stored, slope 1, intercept 0). Where I, J, K make a left-handed system,
    K is written backwards, since a DICOM reader goes along the cross product of rows and columns.

    Args:
        labels: also written, as ``folder/segmentation/segmentation.dcm``; on the grid of ``image``.

    Returns:
        The headers of the slices, without their pixels, in order.

    Raises:
        InputError: the folder has files in it or cannot be written, the axes are not perpendicular, a value does not
            fit into 16 bits, or the labels are on another grid or have ids without a meaning.
    """
    if labels is not None and not labels.same_grid(image):
        raise InputError("The labels and the image lie on different grids; resample one to the other.")
    upright = right_handed(image)
    slices = _stored_values(upright.array)
    headers = _headers(upright, origin)
    with _new_folder(folder) as part:
        for number, header in enumerate(headers):
            _save_slice(part / f"{number + 1:04d}.dcm", header, slices[:, :, number])
        if labels is not None:
            from maisi.outputs.dicom_segmentation import write_segmentation

            (part / SEGMENTATION).parent.mkdir()
            write_segmentation(part / SEGMENTATION, labels, headers)
    return headers


def check_folder(folder: str | os.PathLike) -> Path:
    """``folder`` itself if :func:`write_series` can make it, else InputError. Ask before a long computation."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; give the name of a new or empty folder for the DICOM series.")
    if not folder.parent.is_dir():
        raise InputError(f"The folder {folder.parent} does not exist; create it or choose another.")
    if not os.access(folder.parent, os.W_OK):
        raise InputError(f"The folder {folder.parent} is not writable; choose another.")
    return folder


def right_handed(volume: Volume) -> Volume:
    """``volume``, with K backwards where its axes make a left-handed system; the voxels stay where they are in space.

    Raises:
        InputError: the axes are not perpendicular.
    """
    axes = volume.affine[:3, :3] / volume.spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > _STRAIGHT:
        raise InputError("The axes of the volume are not perpendicular, which DICOM cannot tell; resample it first.")
    if np.linalg.det(axes) > 0:
        return volume
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (volume.shape[2] - 1)
    affine[:3, 2] *= -1
    return type(volume)(volume.array[:, :, ::-1], affine)


def _stored_values(array: np.ndarray) -> np.ndarray:
    values = array if array.dtype == np.int16 else np.rint(array)
    if not (values.min() >= -32768 and values.max() <= 32767):
        raise InputError("The image has values that do not fit into 16 bits; DICOM needs whole numbers up to 32767.")
    return values.astype(np.int16, copy=False)


# ---- headers


def _headers(volume: Volume, origin: Origin) -> list[Dataset]:
    """A header for each slice: what all share, then place and identity."""
    from pydicom import Dataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    common = _common(volume, origin)
    lps = _RAS_TO_LPS @ volume.affine
    headers = []
    for k in range(volume.shape[2]):
        header = Dataset()
        header.update(common)
        header.SOPInstanceUID = generate_uid(prefix=None)
        header.InstanceNumber = k + 1
        header.ImagePositionPatient = _decimals(lps[:3, 3] + k * lps[:3, 2])
        header.file_meta = _file_meta(header, ExplicitVRLittleEndian)
        headers.append(header)
    return headers


def _file_meta(header: Dataset, syntax: str) -> Dataset:
    from pydicom.dataset import FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    return meta


def _common(volume: Volume, origin: Origin) -> Dataset:
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
    _tell_study(header, origin, identity=generate_uid(prefix=None))
    _tell_synthetic(header, origin)
    _tell_place(header, volume)
    if origin.image == "ct":
        _tell_ct(header)
    else:
        _tell_mr(header)
    return header


def _tell_study(header: Dataset, origin: Origin, identity: str) -> None:
    """Patient, study, series, equipment. Elements that DICOM demands and nobody knows are there and empty."""
    from pydicom.uid import generate_uid

    now = datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    header.PatientName, header.PatientID = "SYNTHETIC^MAISI", f"SYNTHETIC-{identity[-12:]}"
    header.PatientComments = "A synthetic image; there is no such patient."
    for unknown in ("PatientBirthDate", "PatientSex", "ReferringPhysicianName", "StudyID", "AccessionNumber"):
        setattr(header, unknown, "")
    header.StudyInstanceUID, header.StudyDescription = identity, "SYNTHETIC"
    header.StudyDate = header.ContentDate = header.InstanceCreationDate = date
    header.StudyTime = header.ContentTime = header.InstanceCreationTime = time
    header.SeriesInstanceUID, header.SeriesNumber = generate_uid(prefix=None), 1
    header.SeriesDescription = origin.description
    header.FrameOfReferenceUID, header.PositionReferenceIndicator = generate_uid(prefix=None), ""
    header.PatientPosition, header.AcquisitionNumber = "HFS", None
    header.Manufacturer, header.ManufacturerModelName = MANUFACTURER, "maisi"
    header.DeviceSerialNumber = origin.checksum[-16:] or "unknown"
    header.SoftwareVersions = maisi.__version__


def _tell_synthetic(header: Dataset, origin: Origin) -> None:
    from pydicom import Dataset

    header.SyntheticData = "YES"
    header.ContentQualification = "RESEARCH"
    header.BurnedInAnnotation, header.LossyImageCompression = "NO", "00"
    header.ImageComments = "SYNTHETIC. Not for clinical use."
    header.DerivationDescription = origin.derivation
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "109102", "DCM", "Processing Equipment"
    maker = Dataset()
    maker.PurposeOfReferenceCodeSequence = [purpose]
    maker.Manufacturer, maker.ManufacturerModelName = MANUFACTURER, origin.model[:64]
    maker.SoftwareVersions, maker.ContributionDescription = maisi.__version__, origin.derivation
    header.ContributingEquipmentSequence = [maker]


def _tell_place(header: Dataset, volume: Volume) -> None:
    """The grid but for the slice's position: columns along I, rows along J."""
    lps = (_RAS_TO_LPS @ volume.affine)[:3, :3] / volume.spacing
    header.ImageOrientationPatient = _decimals(lps[:, :2].T.ravel())
    header.PixelSpacing = _decimals(volume.spacing[[1, 0]])
    (header.SliceThickness,) = _decimals(volume.spacing[2:])
    (header.SpacingBetweenSlices,) = _decimals(volume.spacing[2:])
    header.Columns, header.Rows = volume.shape[:2]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1


def _tell_ct(header: Dataset) -> None:
    from pydicom.uid import CTImageStorage

    header.SOPClassUID, header.Modality, header.KVP = CTImageStorage, "CT", None
    header.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    header.RescaleIntercept, header.RescaleSlope, header.RescaleType = 0, 1, "HU"
    header.WindowCenter, header.WindowWidth = 40, 400


def _tell_mr(header: Dataset) -> None:
    from pydicom.uid import MRImageStorage

    header.SOPClassUID, header.Modality = MRImageStorage, "MR"
    header.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    header.ScanningSequence, header.SequenceVariant, header.ScanOptions = "RM", "NONE", ""
    header.MRAcquisitionType = ""
    header.RepetitionTime = header.EchoTime = header.EchoTrainLength = None


def _decimals(values: np.ndarray) -> list:
    """Numbers as DICOM's decimal strings, as exact as their 16 letters allow."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(value), auto_format=True) for value in values]


# ---- files


def _save_slice(path: Path, header: Dataset, pixels: np.ndarray) -> None:
    from pydicom import Dataset

    dataset = Dataset()
    dataset.update(header)
    dataset.file_meta = header.file_meta
    dataset.PixelData = np.ascontiguousarray(pixels.T, dtype="<i2").tobytes()  # [rows, columns] = [J, I]
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)


@contextlib.contextmanager
def _new_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """A folder to write into, which becomes ``folder`` at the end; when anything fails, nothing remains."""
    folder = check_folder(folder)
    part = folder.parent / f".maisi-{uuid4().hex}"
    try:
        part.mkdir()
        yield part
        if folder.exists():
            folder.rmdir()  # it was empty; Windows does not rename onto a folder
        os.replace(part, folder)
    except OSError as error:
        raise InputError(f"{folder} could not be written: {error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
