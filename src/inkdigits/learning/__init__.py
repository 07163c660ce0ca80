"""Learning from corrections: a challenger trained on them, and the gate that it must pass."""
