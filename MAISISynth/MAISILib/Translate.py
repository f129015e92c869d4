"""``_`` for user-visible strings: Slicer's translation in the application, the text itself elsewhere."""

from __future__ import annotations

import sys

if hasattr(sys.modules.get("slicer"), "app"):  # the application has always imported slicer before us
    from slicer.i18n import tr as _
else:

    def _(text: str) -> str:
        return text


__all__ = ["_"]
