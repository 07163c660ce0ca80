"""Labeled images and strokes: named data sets, downloads, IDX files, tables and your own folders."""
