"""The processes of Rapport as commands; one module each, so that none loads what only another needs."""
