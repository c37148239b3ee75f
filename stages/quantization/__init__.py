"""From a float UNet to a smaller and faster one.

In: the IR of a UNet, samples, a scheme's settings. Out: the quantized IR. Draws nothing and measures nothing.
"""
