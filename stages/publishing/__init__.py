"""IR folders made fit for others and handed on: to a Hub repository, or into DVC's registry and remote.

In: an IR folder, what was measured of it, and where it is to go. Out: reasons why it may not go; the folder as it is
published, with card, licence and pictures; one commit on the Hub, or a version that DVC gets. Measures nothing.
"""
