"""Weights as they are published: fetched, unpacked, verified, swapped, LoRAs fused, or built at random.

In: a source as a model's YAML file names it. Out: a plain diffusers folder. Knows the architectures of the family and
nothing of OpenVINO.
"""
