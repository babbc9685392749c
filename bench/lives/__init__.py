"""Whole lives of engagements, side by side: Rapport and what others would build, on the same simulated provider."""
