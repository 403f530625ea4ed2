"""What a lab writes: config, sections, corrections, scans, masks and annotations of a study."""
