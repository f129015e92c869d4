"""Looking at every file of a data set before any work: what can be used, and what is wrong with the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from maisi.errors import InputError
from maisi.files import read_image
from maisi.geometry import check_extent, closest_axes
from maisi.labels import BODY, LESIONS
from maisi.modalities import is_mr, modality_code
from maisi.new_classes import learn
from maisi.request import array_sha256
from maisi.train.prepare.cases import Case
from maisi.train.prepare.numbering import Numbering, read_case_labels
from maisi.train.prepared import Settings
from maisi.volume import ImageVolume, LabelVolume

DROPPED, NOTE = "dropped", "note"
NOT_HU = -200  # a CT shows air or at least fat
METAL_HU = 4500  # beyond 12-bit scales


@dataclass(frozen=True)
class Finding:
    """Something found in a case: ``level`` DROPPED (it is not used) or NOTE, a short ``kind``, a sentence."""

    level: str
    kind: str
    text: str


@dataclass(frozen=True)
class Checked:
    """What a look at the files of a case told.

    Attributes:
        id: of the case. findings: what is wrong or unusual. shape: voxels along right, anterior, superior.
        spacing: mm, likewise. hu: least and greatest value. ids: MAISI ids in the labels, without 0 and 200.
        voxels: SHA-256 of the image's voxels. content: SHA-256 of all that the prepared files depend on.
        stamp: sizes and times of the files, so that unchanged ones need not be read again.
    """

    id: str
    findings: tuple[Finding, ...]
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    hu: tuple[float, ...] = ()
    ids: tuple[int, ...] = ()
    voxels: str = ""
    content: str = ""
    stamp: str = ""

    @property
    def usable(self) -> bool:
        """Whether nothing was found for which it has to be dropped."""
        return all(finding.level != DROPPED for finding in self.findings)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Checked:
        """Inverse of ``dataclasses.asdict``; what is not ours is ignored."""
        lists = {name: tuple(values[name]) for name in ("shape", "spacing", "hu", "ids")}
        plain = {name: values[name] for name in ("id", "voxels", "content", "stamp")}
        return cls(findings=tuple(Finding(**finding) for finding in values["findings"]), **lists, **plain)


def check_cases(
    cases: list[Case],
    numbering: Numbering,
    settings: Settings,
    known: dict[str, Checked],
    processes: int = 1,
    progress: Callable[[str, int, int], None] = lambda stage, step, total: None,
) -> list[Checked]:
    """Look at all cases; a problem with one of them never stops the rest.

    Args:
        known: what an earlier look told, by id; taken over for files that are unchanged since.
    """
    look = partial(_check_or_take, numbering=numbering, settings=settings, known=known)
    results: list[Checked] = []
    with ProcessPoolExecutor(processes, get_context("spawn")) if processes > 1 else _Here() as pool:
        for number, checked in enumerate(pool.map(look, cases), 1):
            results.append(checked)
            progress("check", number, len(cases))
    return _without_duplicates(cases, results)


class _Here:
    """The same without processes."""

    map = staticmethod(map)

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _check_or_take(case: Case, numbering: Numbering, settings: Settings, known: dict[str, Checked]) -> Checked:
    stamp = _stamp(case, numbering, settings)
    if stamp and case.id in known and known[case.id].stamp == stamp:
        return known[case.id]
    return check_case(case, numbering, settings, stamp)


def check_case(case: Case, numbering: Numbering, settings: Settings, stamp: str = "") -> Checked:
    """Read one case and tell what is wrong with it."""
    learn(settings.classes)
    try:
        image = read_image(case.image)
    except InputError as error:
        return Checked(case.id, (Finding(DROPPED, "unreadable", str(error)),), stamp=stamp)
    findings = list(_look_at_image(case, image, settings))
    labels = None
    try:
        labels = read_case_labels(case, image, numbering)
        findings += _look_at_labels(case, labels)
    except InputError as error:
        findings.append(Finding(DROPPED, "labels", str(error)))
    order, _ = closest_axes(image.affine)
    return Checked(
        id=case.id,
        findings=tuple(findings),
        shape=tuple(image.shape[axis] for axis in order),
        spacing=tuple(round(float(image.spacing[axis]), 4) for axis in order),
        hu=(float(image.array.min()), float(image.array.max())),
        ids=() if labels is None else tuple(int(i) for i in _present(labels) if i not in (0, BODY)),
        voxels=array_sha256(image.array),
        content=_content(image, labels, case),
        stamp=stamp,
    )


def _look_at_image(case: Case, image: ImageVolume, settings: Settings) -> Iterable[Finding]:
    order, _ = closest_axes(image.affine)
    slices, least, greatest = image.shape[order[2]], image.array.min(), image.array.max()
    try:
        check_extent(image)
    except InputError as error:
        yield Finding(DROPPED, "geometry", str(error))
    if slices < settings.min_slices:
        yield Finding(
            DROPPED, "slices", f"It has {slices} slices, fewer than {settings.min_slices} (--min-slices changes that)."
        )
    try:
        modality = modality_code(case.modality)
    except InputError as error:
        yield Finding(DROPPED, "modality", str(error))
        return
    if least == greatest:
        yield Finding(DROPPED, "intensity", f"All voxels are {least:g}; the file is empty.")
    elif not is_mr(modality) and least > NOT_HU:
        yield Finding(
            DROPPED,
            "intensity",
            f"The values, {least:g} to {greatest:g}, are not HU, where air has -1000; rescale them"
            + (" (they may be shifted by 1024)." if least >= 0 and greatest > 1500 else ", or name the modality."),
        )
    elif not is_mr(modality) and greatest > METAL_HU:
        yield Finding(NOTE, "intensity", f"Values up to {greatest:g} HU, perhaps metal, are cut at the window.")
    if case.spacing is not None and not np.allclose(case.spacing, image.spacing, rtol=0.01):
        told, found = (" x ".join(f"{mm:.3g}" for mm in values) for values in (case.spacing, image.spacing))
        yield Finding(NOTE, "spacing", f"The list says {told} mm, the file {found} mm; the file's are taken.")


def _look_at_labels(case: Case, labels: LabelVolume | None) -> Iterable[Finding]:
    if labels is None:
        yield Finding(NOTE, "labels", "It has no labels, so it trains autoencoder and diffusion, not the ControlNet.")
        return
    present = set(_present(labels)) - {0}
    if not present:
        yield Finding(NOTE, "labels", "Its label map is empty and is left out.")
    elif present <= {*LESIONS, BODY}:
        yield Finding(NOTE, "organs", "It has no organs beside its lesions; add them with --pseudo-labels.")
    if case.pseudo is not None and case.label is None:
        yield Finding(NOTE, "labels", "It has no labels of its own, only the organs of --pseudo-labels.")


def _without_duplicates(cases: list[Case], results: list[Checked]) -> list[Checked]:
    """The first of several cases with the same voxels stays; images of a pair are never the same."""
    first: dict[str, str] = {}
    unique = []
    for case, checked in zip(cases, results, strict=True):
        own = tuple(f for f in checked.findings if f.kind != "duplicate")  # an earlier look may have found it
        if checked.voxels and (other := first.setdefault(checked.voxels, case.id)) != case.id:
            own += (Finding(DROPPED, "duplicate", f"Its image has the same voxels as {other}."),)
        unique.append(Checked(**{**vars(checked), "findings": own}))
    return unique


def _present(labels: LabelVolume) -> list[int]:
    return np.flatnonzero(np.bincount(np.concatenate([np.unique(slab) for slab in labels.array]))).tolist()


def _content(image: ImageVolume, labels: LabelVolume | None, case: Case) -> str:
    digest = hashlib.sha256(array_sha256(image.array).encode())
    digest.update(np.round(image.affine, 6).tobytes())
    digest.update(b"" if labels is None else array_sha256(labels.array).encode())
    digest.update(case.modality.encode())
    return digest.hexdigest()


def _stamp(case: Case, numbering: Numbering, settings: Settings) -> str:
    """Changes with the files and with how they are read; "" where a file is missing."""
    paths = [path for path in case.files.values() if path is not None]
    files = [file for path in paths for file in (sorted(path.glob("*")) if path.is_dir() else [path])]
    try:
        status = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError:
        return ""
    told = (status, case.names, case.modality, case.spacing, asdict(numbering), settings.min_slices, settings.classes)
    return hashlib.sha256(repr(told).encode()).hexdigest()
