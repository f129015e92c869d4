"""MAISI's own files as one archive, made here to be unpacked on the other machine."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import maisi

ROOT = (
    Path(maisi.__file__).resolve().parents[1]
)  # the folder of the package, in a source tree or an installed extension
PATTERNS = ("maisi/**/*", "Resources/Models/*", "Resources/MAISISynth-requirements.txt")
LEFT_OUT = (".pyc", ".half.")  # what each machine makes for itself


def bundled_files() -> list[Path]:
    """The files that the worker needs: the package, the cards, the embedded weights; none of the user's."""
    found = (path for pattern in PATTERNS for path in ROOT.glob(pattern))
    return sorted(path for path in found if path.is_file() and not any(word in path.name for word in LEFT_OUT))


def digest(files: list[Path]) -> str:
    """SHA-256 over names and contents: two installations of the same files have the same."""
    sums = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        sums.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        sums.update(content)
    return sums.hexdigest()


def archive(files: list[Path]) -> bytes:
    """A zip archive of ``files``, paths relative to the folder of the package."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for path in files:
            made.write(path, path.relative_to(ROOT).as_posix())
    return out.getvalue()
