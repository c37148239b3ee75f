"""How commands and processes end: in one line, with a status of its own for each kind, and never after their parents.

In: what was raised, signals, the process that waits. Out: a line on stderr with what to run next, and an exit status.
Knows the system's, the network's and OpenVINO's errors, and nothing of models.
"""
