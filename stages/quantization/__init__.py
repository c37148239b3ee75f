"""From a float UNet to a smaller and faster one.

In: the IR of a UNet, samples, a scheme's settings. Out: the quantized IR, and what a search chose. Draws nothing; what
it measures is noise of the prediction, never time.
"""
