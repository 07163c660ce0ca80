"""Labelled images and strokes: named data sets, downloads, IDX files, tables and folders of one's own."""
