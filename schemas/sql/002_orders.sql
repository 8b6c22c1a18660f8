-- What a restart must know beside the jobs: limits of experiments, and where a job was too large.
-- Pauses, stops and devices set aside are read back from the event log by their kind.

ALTER TABLE experiments ADD COLUMN max_fails INTEGER NOT NULL DEFAULT 0;  -- 0: no limit

ALTER TABLE jobs ADD COLUMN kinds_tried TEXT NOT NULL DEFAULT '';     -- one kind a line
ALTER TABLE jobs ADD COLUMN outgrew_bytes INTEGER NOT NULL DEFAULT 0; -- memory that was too little

CREATE INDEX events_kind ON events (kind);
