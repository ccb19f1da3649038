"""Migration: from ids of another making, scheme, salt or axes to the ids of today, planned, journaled, reversible."""

from __future__ import annotations

from genpool.migration.identity import Change
from genpool.migration.migrations import Migrations
from genpool.migration.standing import refuse_while_half_done, refuse_while_open

__all__ = ["Change", "Migrations", "refuse_while_half_done", "refuse_while_open"]
