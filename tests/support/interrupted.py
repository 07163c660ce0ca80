"""A training run that is stopped in the middle, as by Ctrl-C."""

from contextlib import contextmanager

import pytest


@contextmanager
def stopped_at_the_second_validation(module):
    """Interrupt what runs within, when the ``validate`` of a training module is called for the second time."""
    real, seen = module.validate, []

    def stopped(*args):
        if seen:
            raise KeyboardInterrupt
        seen.append(1)
        return real(*args)

    module.validate = stopped
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        module.validate = real
