"""What is seen of a server from outside: metrics, logs, traces."""
