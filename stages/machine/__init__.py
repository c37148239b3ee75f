"""This machine: what it is, what work will need of it, and what work took.

In: sizes, settings, /proc. Out: a description, forecasts of memory, disk and time, refusals, processes apart. What it
decides is recorded in the results; draws and quantizes nothing.
"""
