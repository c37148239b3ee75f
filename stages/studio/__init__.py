"""Pictures on demand: whatever IR is at hand, drawn with by whoever asks, on the shell, in Python or on a page.

In: IR folders, a request and perhaps a picture to start from. Out: pictures with what reproduces them, or an error that
names the field. Measures nothing that a report would quote.
"""
