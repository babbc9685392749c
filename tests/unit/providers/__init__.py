"""Tests of what every provider shares."""
