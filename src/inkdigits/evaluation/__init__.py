"""Measure a model on labeled images and write a report. Needs no PyTorch: ``pip install 'inkdigits[eval]'``."""
