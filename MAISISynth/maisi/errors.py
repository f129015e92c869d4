"""The errors a user can meet. Each message is one sentence: what is wrong, and what to do about it."""

from __future__ import annotations


class MaisiError(Exception):
    """Base of all expected errors; ``kind`` is what travels over the worker protocol."""

    kind = "internal"


class InputError(MaisiError):
    """The labels, the image, a file or a parameter cannot be used as given."""

    kind = "input"


class WeightsError(MaisiError):
    """A weight file is missing, damaged, altered, or does not fit the network."""

    kind = "weights"


class OutOfMemoryError(MaisiError):
    """The job needs (or needed) more memory than the device has."""

    kind = "oom"


class Cancelled(MaisiError):
    """The user asked to stop."""

    kind = "cancelled"
