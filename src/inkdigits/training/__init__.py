"""Training: data sets, networks, the loop, export and evaluation. The only room of inkdigits that knows torch.

``data`` and ``evaluate`` need no torch, so that a model can be measured where nothing trains.
"""
