"""What a person types about a study: a module a command, `run(arguments)` its exit status."""
