"""What a command does from its inputs to its result."""
