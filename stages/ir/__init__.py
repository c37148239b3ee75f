"""OpenVINO IR: traced from torch, written within little memory, read, compiled, counted.

In: a checkpoint, or an IR. Out: an IR, a compiled model, or figures about one. Knows components, and no pipeline.
"""
