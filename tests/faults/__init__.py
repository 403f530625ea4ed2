"""What happens to a study when things go wrong: `make faults`, described in docs/reliability.md."""
