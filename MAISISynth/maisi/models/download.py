"""Released weights from the Hugging Face hub: license first, resumable, verified before they take their place."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from maisi.errors import InputError, WeightsError
from maisi.models import licenses
from maisi.models.checksums import sha256_of
from maisi.models.folder import models_folder
from maisi.models.store import is_intact, note_installed, weight_path
from maisi.models.variants import Variant, WeightFile

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

Progress = Callable[[str, int, int], None]  # (file, bytes there, bytes in all)


def download(variant: Variant, progress: Progress | None = None, endpoint: str | None = None) -> list[Path]:
    """Fetch the missing or damaged weight files of ``variant`` into the models folder.

    What an interrupted download has brought stays, also after the program ended, and the next one goes on from there.
    The token of gated repositories is taken from ``HF_TOKEN`` or the hub's own login.

    Args:
        progress: called with file name, bytes so far and bytes in all. endpoint: address of the hub (None: the hub's
            own, or ``HF_ENDPOINT``).

    Returns:
        The files fetched.

    Raises:
        InputError: the model is not one to be downloaded. WeightsError: a license is not accepted, the hub cannot be
            reached or refuses, the disk is full, or the file is not the published one.
    """
    if not all(file.repository for file in variant.weights):
        raise InputError(f"The model {variant.name} has nothing to download; its weights stand beside its card.")
    wanted = [file for file in variant.weights if not is_intact(variant, file)]
    licenses.require(file.license for file in wanted)
    endpoint = endpoint or os.environ.get("HF_ENDPOINT")  # the hub's library reads it only while it is imported
    return [_fetch(variant, file, progress or (lambda *_: None), endpoint) for file in wanted]


def _fetch(variant: Variant, file: WeightFile, progress: Progress, endpoint: str | None) -> Path:
    url, offer = _offer(file, endpoint)
    # Large files are named by their SHA-256 on the hub; where no checksum was published, this one counts.
    offered = offer.etag if re.fullmatch("[0-9a-f]{64}", offer.etag) else None
    if file.sha256 and offered and file.sha256 != offered:
        raise WeightsError(
            f"{file.repository} now offers another {file.file} than the one this program knows; update the program."
        )
    sha256 = file.sha256 or offered
    target, part = weight_path(variant, file), _part(file, offer)
    _transfer(url, part, offer.size, file, progress)
    found = sha256_of(part)
    if sha256 not in (None, found):
        part.unlink()
        raise WeightsError(
            f"The download of {file.file} is not the published file (SHA-256 differs) and was deleted; start it again."
        )
    try:
        os.replace(part, target)
    except OSError as error:  # Windows keeps files that a running program has mapped
        raise WeightsError(
            f"{target} could not be replaced ({error.strerror}); close what uses it, start again."
        ) from error
    note_installed(variant, file, found)
    return target


def _offer(file: WeightFile, endpoint: str | None) -> tuple[str, HfFileMetadata]:
    """What the hub has now: the address of exactly this version, its size and checksum."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HTTPError

    try:
        offer = get_hf_file_metadata(hf_hub_url(file.repository, file.path, endpoint=endpoint), endpoint=endpoint)
    except (HTTPError, OSError) as error:
        raise _refused(file, error) from error
    if not (offer.etag and offer.commit_hash and offer.size):
        raise WeightsError(f"What answers for {file.repository} is not the Hugging Face hub; check the proxy.")
    return hf_hub_url(file.repository, file.path, revision=offer.commit_hash, endpoint=endpoint), offer


def _part(file: WeightFile, offer: HfFileMetadata) -> Path:
    """Where the bytes are gathered. Those of another version of the file are deleted; nobody will go on with them."""
    folder = models_folder() / ".partial"
    part = folder / f"{file.file}.{offer.etag[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{file.file}.*"):
            if old != part or old.stat().st_size > offer.size:
                old.unlink()
        have = part.stat().st_size if part.exists() else 0
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise WeightsError(
            f"The models folder {models_folder()} is not writable ({error.strerror}); choose another with MAISI_MODELS."
        ) from error
    lacking = (offer.size - have - free) / 1e9
    if lacking > 0:
        raise WeightsError(
            f"{file.file} does not fit: {models_folder()} lacks {lacking:.1f} GB; make room, or set "
            "MAISI_MODELS to another folder."
        )
    return part


def _transfer(url: str, part: Path, size: int, file: WeightFile, progress: Progress) -> None:
    """Append to ``part`` what is missing. ``hf_hub_download`` would start anew, so its transfer alone is used."""
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers, disable_progress_bars

    disable_progress_bars("huggingface_hub.http_get")
    headers = build_hf_headers(headers={"Accept-Encoding": "identity"})  # a range counts bytes as they are
    try:
        with _Watched(part, lambda done: progress(file.file, done, size)) as stream:
            http_get(url, stream, resume_size=stream.tell(), headers=headers, expected_size=size)
    except (HTTPError, OSError) as error:
        raise _refused(file, error) from error


class _Watched(io.BufferedWriter):
    """A file opened for appending that tells its size after each piece."""

    def __init__(self, path: Path, tell: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path, "a"))
        self._tell_size = tell

    def write(self, data: bytes) -> int:
        written = super().write(data)
        self._tell_size(self.tell())
        return written


def _refused(file: WeightFile, error: Exception) -> WeightsError:
    """One sentence for what the hub or the way to it said."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return WeightsError(
            f"The hub does not let you have {file.repository} ({status}); accept its license at "
            f"https://huggingface.co/{file.repository} and set HF_TOKEN to an access token of your account."
        )
    if status == 404:
        return WeightsError(f"{file.path} is no longer in {file.repository} on the hub; update the program.")
    reason = f"error {status}" if status else str(error).partition("\n")[0] or type(error).__name__
    return WeightsError(
        f"{file.file} could not be downloaded ({reason}); run the command again to go on where it stopped, or fetch it "
        f"elsewhere from https://huggingface.co/{file.repository} and use: maisi models import FOLDER."
    )
