"""The miniature family: six small checkpoints of the SDXL architecture and the code that trained them."""
