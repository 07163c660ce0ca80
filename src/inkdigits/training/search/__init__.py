"""The search for the best training options: the space, its trials in processes of their own, and what they found."""
