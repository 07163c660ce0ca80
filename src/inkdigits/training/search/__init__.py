"""Hyperparameter search: the search space, trials in worker processes, and results."""
