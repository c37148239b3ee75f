"""Texts to draw: embedded ones beside this file, the user's own, or public sets.

In: JSON Lines, plain text, CSV or TSV, or a set on the Hub. Out: (id, text) pairs for calibration or for evaluation,
never the same text in both. Knows no model.
"""
