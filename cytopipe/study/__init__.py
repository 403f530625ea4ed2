"""What a lab writes: the config, and later the tables and files of a study folder."""
