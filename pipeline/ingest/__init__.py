"""Ingest: any corpus in, content-addressed documents in committed parts out."""
