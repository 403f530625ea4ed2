"""The tasks, one module each: what it asks of the features, and what it returns."""
