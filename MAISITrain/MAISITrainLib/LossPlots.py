"""The curves of a training as nodes of Slicer's plots. There is one set of them in a scene, which is drawn anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer
from vtk.util.numpy_support import numpy_to_vtk

from MAISILib.Translate import _
from MAISISynthLib.SingletonNodes import singletonNode
from MAISITrainLib.LossCurves import Curves, curvesOf

TAG = "MAISITrain"
STEP, RAW, SMOOTH, VALIDATION = "step", "raw", "smoothed", "validation"
COLORS = {RAW: (0.65, 0.75, 0.9), SMOOTH: (0.1, 0.35, 0.75), VALIDATION: (0.85, 0.35, 0.1)}


class LossPlots:
    """Draws into the nodes of one scene; they are neither saved with it nor more of them made."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene

    @property
    def chart(self) -> slicer.vtkMRMLPlotChartNode:
        """The chart, for a plot view."""
        return self._node("vtkMRMLPlotChartNode", "chart")

    def show(
        self,
        name: str,
        rows: Sequence[Mapping[str, Any]],
        figure: str,
        smoothing: float = 0.9,
        logScale: bool = False,
    ) -> None:
        """Draw one figure of a training: raw and smoothed over the steps, and on held-out data.

        Args:
            name: of the training. rows: of its metrics.jsonl. figure: such as "loss". smoothing: 0 (none) to below 1.
            logScale: of the vertical axis; values that are not positive are left out then.
        """
        curves = curvesOf(rows, figure, smoothing)
        shown = (lambda values: np.where(values > 0, values, np.nan)) if logScale else (lambda values: values)
        training = self._table("training", {STEP: curves.steps, RAW: shown(curves.raw), SMOOTH: shown(curves.smooth)})
        held = {STEP: curves.validationSteps, VALIDATION: shown(curves.validation)}
        series = [
            self._series(RAW, training, figure),
            self._series(SMOOTH, training, _("{figure}, smoothed").format(figure=figure)),
            self._series(VALIDATION, self._table("validation", held), _validationTitle(curves)),
        ]
        self._draw(name, figure, series if len(curves.validation) else series[:2], logScale)

    def _draw(self, name: str, figure: str, series: list[slicer.vtkMRMLPlotSeriesNode], logScale: bool) -> None:
        chart = self.chart
        before = chart.StartModify()
        chart.SetName(_("Training"))
        chart.SetTitle(name)
        chart.SetXAxisTitle(_("step"))
        chart.SetYAxisTitle(figure)
        chart.SetYAxisLogScale(logScale)
        wanted = [node.GetID() for node in series]
        if [chart.GetNthPlotSeriesNodeID(n) for n in range(chart.GetNumberOfPlotSeriesNodes())] != wanted:
            chart.RemoveAllPlotSeriesNodeIDs()
            for node in series:
                chart.AddAndObservePlotSeriesNodeID(node.GetID())
        chart.EndModify(before)

    def _series(self, column: str, table: slicer.vtkMRMLTableNode, title: str) -> slicer.vtkMRMLPlotSeriesNode:
        node = self._node("vtkMRMLPlotSeriesNode", column)
        before = node.StartModify()
        node.SetName(title)
        node.SetAndObserveTableNodeID(table.GetID())
        node.SetPlotType(node.PlotTypeScatter)
        node.SetXColumnName(STEP)
        node.SetYColumnName(column)
        node.SetColor(*COLORS[column])
        isValidation = column == VALIDATION
        node.SetMarkerStyle(node.MarkerStyleCircle if isValidation else node.MarkerStyleNone)
        node.SetLineStyle(node.LineStyleDash if isValidation else node.LineStyleSolid)
        node.SetLineWidth(1 if column == RAW else 2)
        node.EndModify(before)
        return node

    def _table(self, part: str, columns: Mapping[str, np.ndarray]) -> slicer.vtkMRMLTableNode:
        node = self._node("vtkMRMLTableNode", part)
        before = node.StartModify()
        node.SetName(f"{_('Training')} {part}")
        node.RemoveAllColumns()
        for name, values in columns.items():
            column = numpy_to_vtk(np.ascontiguousarray(values, float), deep=True)
            column.SetName(name)
            node.AddColumn(column)
        node.EndModify(before)
        return node

    def _node(self, className: str, part: str) -> slicer.vtkMRMLNode:
        node = singletonNode(self._scene, className, f"{TAG}.{part}")
        node.SaveWithSceneOff()  # the folder of the training is the truth
        return node


def _validationTitle(curves: Curves) -> str:
    return _("validation {figure}").format(figure=curves.validationName)
