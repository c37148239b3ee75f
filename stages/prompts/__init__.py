"""Texts to draw: embedded ones beside this file, or public sets.

In: JSON Lines, or a set on the Hub. Out: (id, text) pairs for calibration or for evaluation, never the same text in
both. Knows no model.
"""
