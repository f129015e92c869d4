"""MAISI-v2 for 3D Slicer: CT synthesis conditioned on a label map. Importing this package imports no torch."""

__version__ = "0.1.0"
