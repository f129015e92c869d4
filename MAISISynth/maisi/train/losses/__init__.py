"""Losses of the stages, each a plain function of tensors."""
