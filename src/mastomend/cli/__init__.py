"""The command line: one thin module a command. The only room that prints, and that maps errors to exit codes."""
