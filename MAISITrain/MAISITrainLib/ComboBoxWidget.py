"""Entries of a combo box."""

from __future__ import annotations

from collections.abc import Sequence

import qt


def fillComboBox(box: qt.QComboBox, rows: Sequence[tuple[str, str]], chosen: str) -> None:
    """Offer (value, text) rows, unless they are offered already, and choose a value."""
    values = [value for value, _text in rows]
    if [box.itemData(index) for index in range(box.count)] != values:
        box.clear()
        for value, text in rows:
            box.addItem(text, value)
    box.currentIndex = values.index(chosen) if chosen in values else -1
