"""Counterfactual series: the same anatomy without and with lesions of planned kinds, places, shapes and sizes."""
