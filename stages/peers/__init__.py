"""Our pictures beside those of other programs, drawn in one sitting: the command `python -m stages.peers`.

In: a checkpoint, its IR folders, prompts, packages that may be installed. Out: a row of figures for each peer,
pictures, one sentence. Nothing here is a dependency of the pipeline, and no other room knows of it.
"""
