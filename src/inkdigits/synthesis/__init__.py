"""Synthetic pictures: strokes as a canvas draws them, corruptions by paper, cameras and scanners, non-digits."""
