"""Where independent pieces of a stage's work are done: here one after the other, or by the workers of a Ray cluster.

In: work, its items, the settings of `engine`. Out: the items' results, in their order, the same whoever made them.
Knows neither pictures nor samples, writes no results, and is no part of one.
"""
