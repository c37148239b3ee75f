"""Model cards and licences: what a folder says of itself to whoever finds it, alone and without this project.

In: an IR folder and what its manifest says. Out: README.md with the Hub's front matter, and the licence's text.
"""
