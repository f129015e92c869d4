"""Attenuation of tissues and lesions in the two phases that the embedded model knows: portal-venous and native.

Values are typical of adult CT at 100 to 120 kV; a patient's differ by the spread.
"""

from __future__ import annotations

from dataclasses import dataclass

PORTAL_VENOUS, NATIVE = 1, 2  # modality codes of FACTS 2.3: CT, and CT without contrast

# id: (portal-venous mean, native mean, spread between patients) in HU
_TISSUES: dict[int, tuple[float, float, float]] = {
    1: (106, 58, 5), 3: (116, 48, 6), 4: (98, 40, 5), 5: (168, 32, 8), 14: (168, 32, 8), 6: (148, 42, 8),
    7: (138, 40, 8), 8: (72, 25, 6), 9: (72, 25, 6), 10: (10, 12, 4), 11: (48, 40, 4), 12: (28, 22, 7),
    13: (50, 32, 6), 15: (8, 6, 3), 17: (155, 40, 8), 19: (52, 32, 6), 22: (38, 34, 2), 25: (152, 40, 6),
    57: (-980, -980, 4), 58: (146, 42, 8), 59: (146, 42, 8), 60: (128, 40, 8), 61: (128, 40, 8), 62: (20, 20, 8),
    108: (140, 42, 8), 109: (148, 42, 8), 110: (135, 40, 8), 111: (135, 40, 8), 112: (148, 42, 8), 113: (148, 42, 8),
    114: (100, 92, 10), 115: (128, 44, 6), 118: (58, 38, 5), 119: (144, 42, 8), 121: (34, 32, 3), 123: (148, 42, 8),
    124: (148, 42, 8), 125: (142, 40, 8), 126: (118, 92, 8), 132: (-960, -960, 8),
}  # fmt: skip
_MUSCLE = (60, 53, 4)
FAT = (-104, 4)
SKIN = 5
DISC = (85, 6)


@dataclass(frozen=True)
class Bone:
    """Mean and spread in HU of the compact shell and of the spongy inside, and the shell's thickness in mm."""

    cortex: tuple[float, float]
    marrow: tuple[float, float]
    thickness: float


_VERTEBRA = Bone((380, 40), (175, 22), 0.9)
_RIB = Bone((500, 60), (150, 25), 1.0)
_FLAT = Bone((580, 60), (105, 30), 1.2)
_LONG = Bone((860, 80), (130, 35), 2.5)
_SKULL = Bone((1050, 80), (450, 60), 3.0)


def bone(label: int) -> Bone:
    """How bone ``label`` is built."""
    if 63 <= label <= 86 or label in (91, 92, 122):
        return _RIB
    if label in (87, 88, 93, 94):
        return _LONG
    if label in (89, 90, 95, 96, 97):
        return _FLAT
    return _SKULL if label == 120 else _VERTEBRA


def tissue(label: int, modality: int) -> tuple[float, float]:
    """(mean, spread) in HU of organ ``label``; muscle for those without an entry."""
    portal, native, spread = _TISSUES.get(label, _MUSCLE)
    return (native if modality == NATIVE else portal), spread


@dataclass(frozen=True)
class LesionLook:
    """The one look of a lesion kind: the label cannot say more.

    Attributes:
        portal, native: mean HU; for a bone lesion the change against the bone around it.
        spread: between lesions. texture: within one. core: how much darker the middle of a large one is.
    """

    portal: float
    native: float
    spread: float
    texture: float
    core: float = 0.0


BONE_LESION = 128
LESION_LOOKS = {
    23: LesionLook(48, 36, 8, 9, core=6),
    24: LesionLook(52, 22, 5, 6, core=8),
    26: LesionLook(58, 32, 5, 6, core=14),
    27: LesionLook(92, 48, 6, 8),
    128: LesionLook(-205, -205, 15, 15),
    129: LesionLook(92, 42, 7, 12, core=28),
    116: LesionLook(8, 8, 3, 1),
    117: LesionLook(8, 8, 3, 1),
}
