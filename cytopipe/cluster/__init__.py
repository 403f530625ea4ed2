"""Slurm's queue, and a stage that runs as several processes."""
