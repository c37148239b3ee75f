"""Figures of one model: speed, memory, size, fidelity, and the pictures they come from.

In: IR folders, prompts, this machine. Out: a record, its short form, curves, pictures. Compares no two models.
"""
