"""The tenants' own systems, which hear what became of their engagements."""
