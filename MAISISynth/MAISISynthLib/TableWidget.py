"""Rows of text in a table widget."""

from __future__ import annotations

from collections.abc import Sequence

import qt


def fillTable(table: qt.QTableWidget, rows: Sequence[Sequence[str]]) -> None:
    """Replace the rows of a table; its columns and what can be done with them stand in the .ui file.

    The selected row stays selected while it exists.
    """
    selected = table.currentRow()
    table.setRowCount(len(rows))
    for row, cells in enumerate(rows):
        for column, text in enumerate(cells):
            table.setItem(row, column, qt.QTableWidgetItem(text))
    if rows:
        table.selectRow(min(max(selected, 0), len(rows) - 1))
    table.resizeColumnsToContents()
