"""Migration: from ids of another making, scheme, salt or axes to the ids of today, planned, journaled, reversible."""
