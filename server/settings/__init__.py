"""What the server is told at its start: flags, variables of the environment and a file, checked.

`config` is the one table of settings; everything else here reads, checks or prints it.
"""
