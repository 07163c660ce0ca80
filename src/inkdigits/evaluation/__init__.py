"""Measuring a model on labelled images, and the report of it. Needs no PyTorch: ``pip install 'inkdigits[eval]'``."""
