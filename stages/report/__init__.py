"""All models side by side: grids, plots, tables, sentences, one page.

In: records and pictures of benchmarks. Out: HTML, SVG, PNG, JSON. Measures nothing and runs no model.
"""
