"""The command `roost`: options, output, exit codes. The only room that writes to the terminal."""
