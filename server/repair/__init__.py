"""The explicit way on from a store that a start refuses: `tenure repair`.

`sieve` decides row by row what is kept, `place` puts a new store where the damaged one was and
keeps that, `repair` does all of it in order, `cli` says what was found and lost.
"""
