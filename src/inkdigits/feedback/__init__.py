"""Corrections of what was read, kept in a database: off by default, with consent, and removable for good.

:mod:`.answers` is what was answered, and its signed form that a client sends back. :mod:`.submission` is a correction
on its way in, :mod:`.store` keeps and removes it, :mod:`.queries` and :mod:`.export` return it, :mod:`.imports` reads
it from files. :mod:`.tables` are the tables, :mod:`.database` opens them, :mod:`.migrate` brings them up to date.

SQLAlchemy and Alembic come with ``pip install 'inkdigits[feedback]'``; the first two modules need neither.
"""
