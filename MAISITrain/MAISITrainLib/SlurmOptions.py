"""What a job of SLURM asks for."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from MAISILib.Translate import _

_TIME = re.compile(r"(\d+-)?\d+(:\d\d){0,2}")


@dataclass(frozen=True)
class SlurmOptions:
    """A job's resources; "" and 0 leave them to the cluster.

    Attributes:
        partition, account: names that the cluster knows. nodes: machines. gpus: on each machine.
        time: longest time, as sbatch takes it: "90" minutes, "12:00:00", "2-00:00:00".
        more: other options of sbatch, such as "--constraint=a100 --mem=200G".
    """

    partition: str = ""
    account: str = ""
    nodes: int = 1
    gpus: int = 0
    time: str = ""
    more: str = ""

    def isValid(self) -> tuple[bool, str]:
        """Whether it can be used, else the sentence that tells why not."""
        if self.time and not _TIME.fullmatch(self.time):
            return False, _("'{time}' is no time of SLURM: write it as 12:00:00 or 2-00:00:00.").format(time=self.time)
        try:
            words = shlex.split(self.more)
        except ValueError:
            return False, _("The other options of SLURM have a quotation mark without its second one.")
        wrong = [word for word in words if not word.startswith("--")]
        if wrong:
            text = _("'{word}' is no option of SLURM: write options as --name=value.")
            return False, text.format(word=wrong[0])
        return True, ""

    def arguments(self) -> list[str]:
        """For ``maisi train --launcher slurm``."""
        named = {"partition": self.partition, "account": self.account, "time": self.time}
        named["gpus-per-node"] = str(self.gpus or "")
        options = [f"--{name}={value}" for name, value in named.items() if value]
        return [f"--nnodes={self.nodes}", *(f"--sbatch={option}" for option in [*options, *shlex.split(self.more)])]
