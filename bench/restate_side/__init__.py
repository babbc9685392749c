"""The happy path of an engagement on Restate, as its documentation would have it."""
