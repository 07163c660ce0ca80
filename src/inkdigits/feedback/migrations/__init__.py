"""Revisions of the store's tables, run by :mod:`inkdigits.feedback.migrate`."""
