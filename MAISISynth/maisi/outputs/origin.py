"""What a synthetic image says about itself in the file that holds it."""

from __future__ import annotations

from dataclasses import dataclass

import maisi


@dataclass(frozen=True)
class Origin:
    """What an image was made with.

    Attributes:
        image: "ct" or "mr". model, checksum: the model's name and the SHA-256 of its weights ("" if not known).
        seed: of the noise. how: such as "from a label map".
    """

    image: str
    model: str
    seed: int
    checksum: str = ""
    how: str = "from a label map"

    @property
    def description(self) -> str:
        """One line for headers that starts with SYNTHETIC, at most 64 letters."""
        return f"SYNTHETIC {self.image.upper()}, MAISI {maisi.__version__}, {self.model}, seed {self.seed}"[:64]

    @property
    def derivation(self) -> str:
        """The full sentence."""
        weights = f" (weights SHA-256 {self.checksum})" if self.checksum else ""
        return f"Synthesized {self.how} by MAISI {maisi.__version__}, model {self.model}{weights}, seed {self.seed}."
