"""Which sections look mirrored, swapped or misplaced, from their images alone."""
