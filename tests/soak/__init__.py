"""For as long as one likes: kills at random moments and inputs changed at random, judged one by one (`make soak`).

Produces a count per kind of what was tried, refused, accepted and right, accepted and wrong, and ended in a traceback,
and of each fault what tries it again: kind, seed, round and number. Runs on the tiny pipelines, through the stages' own
commands. tests/test_soak.py holds a short run.
"""
