"""What to do: params.yaml and conf/, composed, checked and typed.

In: YAML and overrides. Out: dataclasses, or an error that names key, value and what is allowed. Knows the shape of the
settings and no model by name; the values are those of conf/.
"""
