"""Prepared data as batches."""
