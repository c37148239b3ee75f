"""A web page to draw with the IR at hand: the command `python -m stages.app`.

In: IR folders, a person's wishes from a browser. Out: pictures on the page, each with what reproduces it. Serves the
loopback interface unless told otherwise, asks nothing of any network, leaves nothing on the disk when it ends.
"""
