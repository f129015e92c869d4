"""What kind of image it is, as the networks are told: names and class labels of FACTS 2.3."""

from __future__ import annotations

from maisi.errors import InputError

MODALITIES = {
    "unknown": 0, "ct": 1, "ct without contrast": 2, "ct with contrast": 3,
    "mri": 8, "t1": 9, "t2": 10, "flair": 11, "pd": 12, "dwi": 13, "adc": 14, "ssfp": 15, "mra": 16, "t1c": 17,
    "swi": 20, "t1 skull-stripped": 29, "t2 skull-stripped": 30, "flair skull-stripped": 31,
    "swi skull-stripped": 32, "mra skull-stripped": 33,
}  # fmt: skip
_ALIASES = {"mr": "mri", "t1w": "t1", "t2w": "t2", "t1ce": "t1c", "t1gd": "t1c", "t2-flair": "flair", "pdw": "pd"}
FIRST_MR = 8


def modality_code(name: str | int) -> int:
    """The class label of a modality; a number is one already.

    Raises:
        InputError: it is not known; the sentence lists those that are.
    """
    plain = " ".join(str(name).casefold().replace("_", " ").replace("mri ", "").replace("mr ", "").split())
    plain = _ALIASES.get(plain, plain)
    if plain.isdecimal() and int(plain) < 128:  # rows of the networks' table
        return int(plain)
    if plain not in MODALITIES:
        raise InputError(f"The modality {name!r} is not known; choose one of {', '.join(MODALITIES)}.")
    return MODALITIES[plain]


def is_mr(code: int) -> bool:
    """Whether images of this class label have arbitrary units rather than HU (FACTS 2.3)."""
    return code >= FIRST_MR
