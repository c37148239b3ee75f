"""Whatever a user, a hub or another program hands in, by subject: made wrong at random, and judged.

For each kind three functions: a strategy of examples, what a command does with one, and what is wrong with the result
of one that was accepted ("" where nothing is). The last reads its example by itself, with no code of ours, or compares
with what the sound original gave.
"""
