"""Counterfactual series from the scene: a segmentation, perhaps with its CT, becomes a data set in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import slicer

from maisi.errors import InputError
from maisi.options import Options
from maisi.vary.series import Item, SeriesRequest, plan_series
from maisi.volume import ImageVolume, LabelVolume
from MAISILib.ChildProcess import ChildProcess
from MAISILib.Interpreter import Interpreter, InterpreterError
from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISISynthLib.InputCheck import checkInput
from MAISISynthLib.SceneIO import readImage, readLabels
from MAISISynthLib.VaryJob import VaryJob
from MAISISynthLib.VoxelOrder import inOrderOf

_REQUEST = {field.name for field in fields(SeriesRequest)}


class VaryLogic:
    """Series of lesions.

    Example::

        logic = VaryLogic()
        logic.plan(segmentationNode, cases=50, organs=["liver"], sizes_mm=[10, 20, 30])    # a list of items
        job = logic.start(segmentationNode, "Dataset501_Liver", cases=50, organs=["liver"], sizes_mm=[10, 20, 30])
        job.poll(); job.progress; job.cancel()

    ``start`` with the same arguments goes on where an earlier run ended. Nothing in the scene is changed.
    """

    def __init__(self, interpreter: Interpreter | None = None) -> None:
        application = getattr(slicer, "app", None)
        settings = Settings(application.userSettings() if application else None)
        self._interpreter = interpreter or Interpreter(settings)

    def plan(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None,
        **settings: Any,
    ) -> list[Item]:
        """The cases that ``start`` with the same settings would make.

        Raises:
            InputError: the segmentation, the CT or the request cannot be used; the sentence tells why.
        """
        labels, image = _read(segmentationNode, volumeNode)
        request, _options = _split(settings, image is not None)
        return plan_series(labels, request)

    def start(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        folder: str | Path,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None,
        processes: int = 1,
        **settings: Any,
    ) -> VaryJob:
        """Start to make a series in ``folder``, in a process of its own.

        Args:
            folder: new, or that of the same series, of which the missing cases are made.
            volumeNode: CT to put the lesions into; None: everything is synthesized.
            processes: that share the work; with several GPUs one for each.
            settings: of ``SeriesRequest`` (cases, organs, sizes_mm ...) and of ``Options`` (model, seed, device ...).

        Raises:
            InputError: as ``plan``; or the options, the temporary folder or the chosen Python cannot be used.
        """
        labels, image = _read(segmentationNode, volumeNode)
        request, options = _split(settings, image is not None)
        plan_series(labels, request)  # bad input is told now, not by the process
        arguments = [*commandArguments(request, options), f"--output={folder}", f"--nproc={processes}"]
        try:
            temporary = tempfile.TemporaryDirectory(prefix="maisi-", ignore_cleanup_errors=True)
        except OSError as error:
            text = _("The folder for temporary files cannot be used ({reason}): free some space there.")
            raise InputError(text.format(reason=error)) from error
        files = [Path(temporary.name) / name for name in (["ct.nrrd"] if image else []) + ["labels.nrrd"]]
        try:
            for file, volume in zip(files, [image, labels] if image else [labels], strict=True):
                _save(file, volume)
            command = self._interpreter.command("-m", "maisi", "vary", *map(str, files), *arguments)
            process = ChildProcess(command, self._interpreter.environment())
        except (OSError, InterpreterError) as error:
            temporary.cleanup()
            raise InputError(_("The series could not be started: {reason}").format(reason=error)) from error
        return VaryJob(process, Path(folder), temporary)


def commandArguments(request: SeriesRequest, options: Options) -> list[str]:
    """What ``maisi vary`` is to be told for this request and these options."""
    values = {**request.to_json(), **options.to_json()}
    values["sizes"], values["no_baselines"] = values.pop("sizes_mm"), not values.pop("baselines")
    given = {f"--{name.replace('_', '-')}": value for name, value in values.items() if value not in (None, False, ())}
    texts = {flag: ",".join(map(str, v)) if isinstance(v, (tuple, list)) else str(v) for flag, v in given.items()}
    return [flag if given[flag] is True else f"{flag}={text}" for flag, text in texts.items()]


def _read(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode | None
) -> tuple[LabelVolume, ImageVolume | None]:
    check = checkInput(segmentationNode)
    valid, sentence = check.isValid()
    if not valid:
        raise InputError(sentence)
    labels = readLabels(segmentationNode, check.mapping.ids)
    if volumeNode is None:
        return labels, None
    image = inOrderOf(readImage(volumeNode), labels)
    if not image.same_grid(labels):
        text = _("'{name}' is on another grid than the segmentation: choose it as the segmentation's source volume.")
        raise InputError(text.format(name=volumeNode.GetName()))
    return labels, image


def _split(settings: Mapping[str, Any], hasScan: bool) -> tuple[SeriesRequest, Options]:
    """What is varied, and how each image is made; the seed belongs to both. Raises InputError."""
    options = Options.from_json({name: value for name, value in settings.items() if name not in _REQUEST - {"seed"}})
    request = SeriesRequest.from_json({name: value for name, value in settings.items() if name in _REQUEST})
    return (request.on_scan() if hasScan else request), options


def _save(path: Path, volume: LabelVolume | ImageVolume) -> None:
    """An uncompressed NRRD file. Slicer's Python has no library that writes one from RAS coordinates."""
    array = volume.array.astype(volume.array.dtype.newbyteorder("<"), copy=False)
    directions = " ".join(f"({','.join(map(repr, column))})" for column in volume.affine[:3, :3].T.tolist())
    header = [
        "NRRD0004",
        f"type: {array.dtype.name}",
        "dimension: 3",
        "space: right-anterior-superior",
        f"sizes: {' '.join(map(str, array.shape))}",
        f"space directions: {directions}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        f"space origin: ({','.join(map(repr, volume.affine[:3, 3].tolist()))})",
    ]
    path.write_bytes("\n".join([*header, "", ""]).encode() + array.tobytes(order="F"))
