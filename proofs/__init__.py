"""Proofs at true size: commands that measure what the README says of SDXL itself, and the page that shows it."""
