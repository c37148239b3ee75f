"""Pictures drawn by pipelines on IR folders, within the memory at hand.

In: an IR folder, a prompt, a sampler, a seed. Out: pictures, latents, recorded UNet inputs. Knows no benchmark.
"""
