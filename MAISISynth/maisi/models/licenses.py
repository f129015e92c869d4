"""The licenses of the released weights (FACTS 1.9), and which of them the user has accepted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from maisi.errors import WeightsError
from maisi.models.folder import read_record, write_record

RECORD = "licenses.json"


@dataclass(frozen=True)
class License:
    """One license: its text at ``url``; what it allows in one sentence; whether it is for research only."""

    url: str
    summary: str
    research_only: bool = False
    must_be_accepted: bool = True


LICENSES = {
    "NVIDIA Open Model License": License(
        "https://www.nvidia.com/en-us/agreements/enterprise-software/nvidia-open-model-license/",
        "Research and commercial use, changed models included; images made with it are yours; "
        "who passes the weights on passes the license and NVIDIA's notice on with them.",
    ),
    "NVIDIA OneWay Noncommercial License (22 March 2022)": License(
        "https://developer.download.nvidia.com/licenses/NVIDIA-OneWay-Noncommercial-License-22Mar2022.pdf",
        "Research and evaluation only: no commercial use of the weights or of models derived from them.",
        research_only=True,
    ),
    "Apache-2.0": License(
        "https://www.apache.org/licenses/LICENSE-2.0",
        "Any use; who passes it on keeps the license and the notices.",
        must_be_accepted=False,
    ),
}


def open_licenses(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that must be accepted and were not yet, each once. Licenses not in the table ask nothing."""
    accepted = read_record(RECORD)
    wanted = (name for name in dict.fromkeys(names) if name in LICENSES and LICENSES[name].must_be_accepted)
    return [name for name in wanted if name not in accepted]


def accept(names: Iterable[str]) -> None:
    """Store in the models folder that the user accepts ``names``, with URL and time."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    write_record(RECORD, read_record(RECORD) | {name: {"url": LICENSES[name].url, "accepted": now} for name in names})


def require(names: Iterable[str]) -> None:
    """Raises WeightsError when a license of ``names`` has not been accepted."""
    missing = open_licenses(names)
    if missing:
        told = " and ".join(f"the {name} ({LICENSES[name].url})" for name in missing)
        raise WeightsError(f"These weights come under {told}; read it, then run again with --accept-license.")
