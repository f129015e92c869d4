"""One synthesis of the scene's data: the worker's job, and the nodes that come of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import slicer

from maisi.errors import InputError
from maisi.protocol import Progress, Synthesize
from maisi.volume import ImageVolume, LabelVolume
from MAISILib.Job import JobCancelled, JobError
from MAISILib.Translate import _
from MAISILib.Worker import Worker
from MAISISynthLib.Draft import Draft
from MAISISynthLib.NodeGrid import Grid
from MAISISynthLib.SceneIO import addSynthetic, noteOrigin, replaceSynthetic

REQUEST, MODEL, CHECKSUM, INFO = "MAISI.Request", "MAISI.Model", "MAISI.ModelSha256", "MAISI.Info"  # node attributes


class SynthesisJob:
    """A synthesis that is waiting, running or over; made by ``MAISISynthLogic.startSynthesis``.

    Call ``poll()`` regularly until ``done``, or ``wait()`` once. The volume node is added by the call that finds the
    synthesis finished. Nothing in the scene is changed before, and nothing at all when it fails or is cancelled.

    Attributes:
        volumeNode: the new CT, once it is in the scene.
        image: the new CT as values, from the end of the computation on, even where it could not be added.
        notices: sentences about what was assumed or left out.
        error: one sentence (and perhaps log lines) when state is "failed".
    """

    def __init__(
        self,
        worker: Worker,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        labels: LabelVolume,
        grid: Grid,
        options: dict,
        edited: tuple[ImageVolume, LabelVolume] | None = None,
        notices: list[str] | None = None,
        before: slicer.vtkMRMLScalarVolumeNode | None = None,
        draft: Draft | None = None,
    ) -> None:
        """
        Args:
            options: of ``maisi.options.Options``. edited: an older CT and its label map, for a local edit.
            before: node of that CT. draft: on the same grid, to be replaced by the new CT if it is untouched then.

        Raises:
            InputError: the temporary files cannot be written.
        """
        self.volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self.image: ImageVolume | None = None
        self.notices = notices or []
        self.error = ""
        self._labels, self._grid = labels, grid
        self._options = {**options, "edit": edited is not None}
        self._name = _("{segmentation} SYNTHETIC CT").format(segmentation=segmentationNode.GetName())
        self._segmentationNode = segmentationNode
        self._before, self._draft = before, draft
        self._scene = segmentationNode.GetScene()
        self._sceneClosed = False
        self._over = False
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="maisi-", ignore_cleanup_errors=True)
            request = self._request(options, edited)
        except OSError as error:
            text = _("The folder for temporary files cannot be used ({reason}): free some space there.")
            raise InputError(text.format(reason=error)) from error
        self._closeObserver = self._scene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, self._onSceneClosed)
        self._job = worker.submit(request)

    @property
    def state(self) -> str:
        """ "queued", "starting", "running", "done", "failed" or "cancelled"."""
        if not self._job.done:
            return self._job.state
        if not self._over:
            return "running"  # computed, but not yet in the scene
        return "failed" if self.error else self._job.state

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._over

    @property
    def progress(self) -> Progress | None:
        """The newest progress event."""
        return self._job.progress

    @property
    def log(self) -> list[str]:
        """The last lines that the worker printed."""
        return list(self._job.log)

    def poll(self) -> bool:
        """Take in what happened, without blocking; True if anything changed."""
        changed = self._job.poll()
        if self._job.done and not self._over:
            self._end()
            return True
        return changed

    def cancel(self) -> None:
        """Ask to stop; keep polling until ``done``."""
        self._job.cancel()

    def wait(self, timeout: float | None = None) -> slicer.vtkMRMLScalarVolumeNode:
        """Block until the new CT is in the scene, and return it; Ctrl+C cancels.

        Raises:
            JobError: it failed, the text tells why. JobCancelled: it was cancelled.
            TimeoutError: it is still running after ``timeout`` seconds (and goes on).
        """
        try:
            self._job.wait(timeout)
        except (JobError, JobCancelled):
            pass  # told below, as the end of this job
        finally:
            self.poll()
        if self.state == "cancelled":
            raise JobCancelled
        if self.error:
            raise JobError(self.error, self._job.errorKind or "input")
        return self.volumeNode

    def addToScene(self) -> slicer.vtkMRMLScalarVolumeNode:
        """Add the finished CT to the scene (again); ``poll`` does it unless the scene was closed during the run."""
        info = self._job.result.info
        attributes = {
            REQUEST: json.dumps(self._options),
            MODEL: str(info.get("model", "")),
            CHECKSUM: str(info.get("model_sha256", "")),
            INFO: json.dumps({**info, "notices": self.notices}),
        }
        if self._draft is not None and self._draft.untouched:
            self.volumeNode = self._draft.volumeNode  # which goes on to be a change of what it was
            replaceSynthetic(self.volumeNode, self.image, self._labels, attributes)
            return self.volumeNode
        self.volumeNode = addSynthetic(
            self._scene,
            self.image,
            self._labels,
            self._grid,
            self._name,
            attributes,
            self._ifThere(self._segmentationNode),
        )
        noteOrigin(self.volumeNode, self._ifThere(self._before))
        return self.volumeNode

    def _ifThere(self, node: slicer.vtkMRMLNode | None) -> slicer.vtkMRMLNode | None:
        """``node``, unless it was removed during the run."""
        return node if node is not None and node.GetScene() is self._scene else None

    def _request(self, options: dict, edited: tuple[ImageVolume, LabelVolume] | None) -> Synthesize:
        folder = Path(self._folder.name)

        def save(name: str, volume: ImageVolume | LabelVolume) -> str:
            np.save(folder / name, volume.array)
            return str(folder / name)

        return Synthesize(
            job=0,
            labels=save("labels.npy", self._labels),
            affine=self._labels.affine.ravel().tolist(),
            output=str(folder / "ct.npy"),
            image=save("image.npy", edited[0]) if edited else None,
            labels_before=save("before.npy", edited[1]) if edited else None,
            options=options,
        )

    def _end(self) -> None:
        """The worker is done with it, well or not."""
        self._over = True
        self._scene.RemoveObserver(self._closeObserver)
        try:
            if self._job.state == "failed":
                self.error = self._job.error
            elif self._job.state == "done":
                self._takeResult()
        finally:
            self._folder.cleanup()

    def _takeResult(self) -> None:
        try:
            self.image = ImageVolume(np.load(self._job.result.output), self._labels.affine)
        except (OSError, ValueError, InputError) as error:
            self.error = _("The CT could not be read from the temporary folder: {reason}").format(reason=error)
            return
        self.notices += self._job.result.info.get("notices", [])
        if self._sceneClosed:
            self.error = _("The scene was closed during the synthesis, so the CT was not added to the new one.")
        else:
            if self._segmentationNode.GetScene() is None:
                self.notices.append(
                    _("The segmentation was removed during the synthesis; the CT was added without it.")
                )
            self.addToScene()

    def _onSceneClosed(self, _caller: slicer.vtkMRMLScene, _event: str) -> None:
        self._sceneClosed = True
