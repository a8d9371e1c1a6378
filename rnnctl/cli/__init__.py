"""The commands: parse, call, render. Only this package prints, exits or reads `sys.argv`."""
