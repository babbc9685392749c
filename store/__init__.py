"""What Rapport remembers: engagements, contacts, the send ledger, template states, holds and keys.

Synchronous SQLAlchemy Core on threads, SQLite on one machine or PostgreSQL by URL. ``database`` is the only module that
knows a driver, ``tables`` the shape of the schema, ``migrate`` brings a store up to it, ``stores`` opens everything at
once. Repositories answer the ports of ``domain``; functions named ``…_within`` do the same work inside a transaction
that the caller already has.
"""
