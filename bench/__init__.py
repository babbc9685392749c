"""Measures the service side by side with what anybody would build instead: ``python -m bench``.

A figure is two sides measured turn by turn in one run on one machine. What is compared is what both did in the same
round, so a machine that is slow for a while is slow for both.
"""
