"""The vocabulary and rules of candidate engagements. Pure: no clock, no environment, no I/O."""
