"""The happy path of an engagement on DBOS and PostgreSQL, as its documentation would have it."""
