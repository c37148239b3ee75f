"""Files and folders on disk: whole or absent, described and checked, each in its one place.

In: what stages write. Out: manifests, digests, paths, free space. Knows nothing of models or of OpenVINO.
"""
