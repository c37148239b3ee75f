"""UNet inputs to quantize with: collected while a model draws, kept in shards.

In: pipelines and prompts. Out: one file of samples per prompt. Knows nothing of quantization.
"""
