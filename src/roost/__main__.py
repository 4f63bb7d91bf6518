"""`python -m roost`: the command `roost`."""

from roost.cli.main import main

main()
