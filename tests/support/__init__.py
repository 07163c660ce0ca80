"""What the tests share; benchmarks and scripts use it too."""
