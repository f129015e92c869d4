"""Label maps as DICOM segmentations: a segment for each label, with its SNOMED CT codes, name and color."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import maisi
from maisi.errors import InputError
from maisi.labels import LABELS, Code, Label
from maisi.outputs.dicom import right_handed
from maisi.volume import LabelVolume

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom import Dataset


def write_segmentation(path: str | os.PathLike, labels: LabelVolume, series: Sequence[Dataset]) -> None:
    """Write ``labels`` as one DICOM SEG object that refers to the slices of an image series.

    Segments are binary, numbered 1, 2, ... in the order of their MAISI ids. They are the label map that the image was
    made from, whoever drew it: the algorithm type is SEMIAUTOMATIC.

    Args:
        labels: on the grid of the series, before any turning round (see :func:`maisi.outputs.dicom.write_series`).
        series: headers of the slices in order, as ``write_series`` returns them; study and patient are theirs.

    Raises:
        InputError: no label is there, an id has no meaning, or the grid is not the one of the series.
    """
    from highdicom.seg import Segmentation
    from pydicom.uid import generate_uid

    upright = right_handed(labels).array
    rows_and_columns = {(header.Rows, header.Columns) for header in series}
    if rows_and_columns != {upright.shape[1::-1]} or len(series) != upright.shape[2]:
        raise InputError("The labels are not on the grid of the image series; resample them to it first.")
    ids = segment_ids(upright)
    first = series[0]
    segmentation = Segmentation(
        source_images=series,
        pixel_array=_numbered(upright, ids),
        segmentation_type="BINARY",
        segment_descriptions=[_describe(number, LABELS[id_]) for number, id_ in enumerate(ids, 1)],
        series_instance_uid=generate_uid(prefix=None),
        series_number=first.SeriesNumber + 1,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=first.Manufacturer,
        manufacturer_model_name=first.ManufacturerModelName,
        software_versions=maisi.__version__,
        device_serial_number=first.DeviceSerialNumber,
        content_label="LABELS",
        content_description="The label map that the synthetic image was made from",
    )
    segmentation.SeriesDescription = f"Labels of {first.SeriesDescription}"[:64]
    segmentation.SyntheticData, segmentation.ContentQualification = "YES", "RESEARCH"
    segmentation.save_as(path)


def segment_ids(array: np.ndarray) -> list[int]:
    """The ids in ``array``, background left out. Raises InputError: there are none, or some have no meaning."""
    ids = [int(id_) for id_ in np.flatnonzero(np.bincount(array.ravel(), minlength=1)) if id_]
    if not ids:
        raise InputError("The label map is empty, so there is nothing to write as a DICOM segmentation.")
    unknown = [str(id_) for id_ in ids if id_ not in LABELS or not LABELS[id_].terminology.type.value]
    if unknown:
        raise InputError(f"The label map has ids without a meaning: {', '.join(unknown)}; remove or renumber them.")
    return ids


def _numbered(array: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """``[slices, rows, columns]`` = ``[K, J, I]`` segment numbers, 0 where there is none."""
    numbers = np.zeros(256, np.uint8)
    numbers[ids] = np.arange(1, len(ids) + 1)
    return np.ascontiguousarray(numbers[array].transpose(2, 1, 0))


def _describe(number: int, label: Label) -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    terms = label.terminology
    region = [_concept(terms.region)] if terms.region.value else None
    if region and terms.region_modifier.value:
        region[0].AnatomicRegionModifierSequence = [_concept(terms.region_modifier)]
    described = SegmentDescription(
        segment_number=number,
        segment_label=label.name,
        segmented_property_category=_concept(terms.category),
        segmented_property_type=_concept(terms.type),
        algorithm_type="SEMIAUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=f"MAISI label {label.id}", family=codes.DCM.ArtificialIntelligence, version=maisi.__version__
        ),
        anatomic_regions=region,
        display_color=CIELabColor.from_rgb(*label.color),
    )
    if terms.type_modifier.value:
        (type_,) = described.SegmentedPropertyTypeCodeSequence
        type_.SegmentedPropertyTypeModifierCodeSequence = [_concept(terms.type_modifier)]
    return described


def _concept(code: Code) -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept(value=code.value, meaning=code.meaning, scheme_designator="SCT")
