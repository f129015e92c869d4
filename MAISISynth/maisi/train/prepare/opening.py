"""From what was asked to a plan: read the sources, look at every file, refuse what does not go together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from maisi.errors import InputError
from maisi.files import write_json
from maisi.labels import SOURCES
from maisi.models.variants import variants
from maisi.new_classes import NewClass, learn
from maisi.train.prepare.cases import Case
from maisi.train.prepare.check import Checked, check_cases
from maisi.train.prepare.folder import Plan, PreparedFolder, prepare_folders
from maisi.train.prepare.numbering import Numbering, find_pseudo
from maisi.train.prepare.report import to_json
from maisi.train.prepare.sizes import COPIES
from maisi.train.prepare.sources import read_sources
from maisi.train.prepared import PREPARED, Settings, read_settings

COMPRESSION = 4  # image voxels of a latent voxel, along each axis


@dataclass(frozen=True)
class PrepareRequest:
    """What is to be prepared.

    Attributes:
        sources: data lists and folders. output: the folder to make or to go on with.
        settings, numbering: how. modality: of images whose data set does not tell it.
        pseudo_labels: folder with organs that another program made, or None.
        model, autoencoder, device: as in :class:`Plan`.

    Raises:
        InputError: a value that cannot be used.
    """

    sources: tuple[Path, ...]
    output: Path
    settings: Settings = field(default_factory=Settings)
    numbering: Numbering = field(default_factory=Numbering)
    modality: str | None = None
    pseudo_labels: Path | None = None
    model: str | None = None
    autoencoder: Path | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        settings = self.settings
        if settings.multiple < COMPRESSION or settings.multiple % COMPRESSION:
            raise InputError(f"The multiple must be 4, 8, 12 ..., got {settings.multiple}; the paper has 128.")
        if settings.spacing is not None and (
            len(settings.spacing) != 3 or not all(0 < s < 50 for s in settings.spacing)
        ):
            raise InputError("A fixed spacing is three numbers in mm, greater than zero.")
        if settings.window[0] >= settings.window[1]:
            raise InputError("The window must have its lower end first, such as -1000 1000.")
        if settings.copies not in COPIES:
            raise InputError(f"Copies must be one of {', '.join(COPIES)}, got {settings.copies!r}.")
        for source in filter(None, (self.numbering.source, self.numbering.pseudo)):
            if source not in SOURCES:
                raise InputError(f"Labels from {source!r} are not known; choose one of {', '.join(SOURCES)}.")
        if self.pseudo_labels is not None and not self.pseudo_labels.is_dir():
            raise InputError(f"There is no folder {self.pseudo_labels} with labels of organs.")
        if self.autoencoder is not None and not self.autoencoder.exists():
            raise InputError(f"There is no autoencoder {self.autoencoder}; give a weight file or the folder of a run.")


def look(
    request: PrepareRequest,
    processes: int = 1,
    progress: Callable[[str, int, int], None] = lambda stage, step, total: None,
) -> tuple[list[Case], list[Checked]]:
    """Look at every file, and write ``report.json`` into the output folder; nothing else is changed.

    Raises:
        InputError: a source cannot be read at all, or the settings are not those of the output folder.
    """
    folder = PreparedFolder(request.output)
    _learn(request.settings.classes)
    _check_same_settings(request)
    cases = [_with_pseudo(case, request.pseudo_labels) for case in read_sources(request.sources, request.modality)]
    known = folder.read_report()
    checked = check_cases(cases, request.numbering, request.settings, known, processes, progress)
    prepare_folders(folder, ())
    write_json(folder.report, to_json(cases, checked))
    return cases, checked


def begin(request: PrepareRequest, cases: list[Case], checked: list[Checked]) -> Plan:
    """The plan for what can be used, written into the output folder, where other processes find it.

    Raises:
        InputError: no case can be used.
    """
    usable = {look.id: look for look in checked if look.usable}
    if not usable:
        first = next(finding.text for finding in checked[0].findings)
        raise InputError(f"None of the {len(checked)} cases can be used; the first one: {first}")
    plan = Plan(
        cases=tuple(case for case in cases if case.id in usable),
        contents={id_: look.content for id_, look in usable.items()},
        numbering=request.numbering,
        settings=request.settings,
        model=request.model,
        autoencoder=request.autoencoder and request.autoencoder.absolute(),
        device=request.device,
    )
    write_json(PreparedFolder(request.output).plan, plan.to_json())
    return plan


def _learn(classes: tuple[NewClass, ...]) -> None:
    variants()  # models that are here know classes of their own, with which an id must not collide
    learn(classes)


def _with_pseudo(case: Case, folder: Path | None) -> Case:
    absolute = replace(case, image=case.image.absolute(), label=case.label and case.label.absolute())
    return absolute if folder is None else replace(absolute, pseudo=find_pseudo(folder.absolute(), case))


def _check_same_settings(request: PrepareRequest) -> None:
    if not (request.output / PREPARED).is_file():
        return
    there = read_settings(request.output)
    for name in ("multiple", "spacing", "window", "copies"):
        was, now = getattr(there, name), getattr(request.settings, name)
        if was != now:
            raise InputError(
                f"{request.output} was prepared with {name} {was}, not {now}; take the same or another folder."
            )
