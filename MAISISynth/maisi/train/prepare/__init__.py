"""Data sets as people have them -> a folder to train with."""
