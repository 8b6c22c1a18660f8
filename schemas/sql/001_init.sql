-- bitsweep's database, version 1. Numbered files are never edited after a release; a change is a
-- new file. Every table is STRICT, every time is milliseconds since the Unix epoch (UTC).
-- The first comment of a view is its one-line description: `bitsweep query` prints it.

CREATE TABLE experiments (
  name TEXT PRIMARY KEY,
  yaml TEXT NOT NULL,              -- the file as submitted
  submitted_unix_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE experiment_tags (
  experiment TEXT NOT NULL REFERENCES experiments (name),
  tag TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (experiment, tag)
) STRICT, WITHOUT ROWID;

-- Cells of `gpu: {each: any}`: they become jobs for each kind of device that attaches.
CREATE TABLE templates (
  experiment TEXT NOT NULL REFERENCES experiments (name),
  position INTEGER NOT NULL,
  spec TEXT NOT NULL CHECK (json_valid(spec)),
  spec_key TEXT NOT NULL,
  weights_digest TEXT NOT NULL,
  dataset_digest TEXT NOT NULL,
  numerics_revision INTEGER NOT NULL,
  yaml_line INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  timeout_ms INTEGER NOT NULL,
  retries_crash INTEGER NOT NULL,
  retries_fail INTEGER NOT NULL,
  PRIMARY KEY (experiment, position)
) STRICT, WITHOUT ROWID;

-- One row per cell of any experiment: the same cell of two experiments is one job.
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,        -- SHA-256 over the four parts of the identity
  model TEXT NOT NULL,
  weights TEXT NOT NULL,           -- real | random
  method TEXT NOT NULL,
  threshold REAL,                  -- outlier threshold; NULL where the method reads none
  head INTEGER NOT NULL,           -- bits of output head and embedding
  kv TEXT NOT NULL,                -- 16 | int8 | fp8
  gpu TEXT NOT NULL,               -- kind of device that was asked for
  batch INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL,  -- 0: the prompt of the spec
  new_tokens INTEGER NOT NULL,
  protocol TEXT NOT NULL,
  threads INTEGER NOT NULL,
  seed INTEGER NOT NULL,           -- the 64 bits of the seed as a signed number
  repeat INTEGER NOT NULL,
  text TEXT NOT NULL,              -- data set of the quality measurement
  spec TEXT NOT NULL CHECK (json_valid(spec)),
  canonical TEXT NOT NULL CHECK (json_valid(canonical)),
  series TEXT NOT NULL,            -- equal for the repeats of one cell
  setting TEXT NOT NULL,           -- equal for cells that differ in method, threshold, repeat only
  spec_key TEXT NOT NULL,          -- SHA-256 of `canonical`
  weights_digest TEXT NOT NULL,    -- as known at submit; '': the first run tells
  dataset_digest TEXT NOT NULL,
  numerics_revision INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
  attempt INTEGER NOT NULL,        -- last one handed out
  crashes INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  worker TEXT NOT NULL,            -- of the running attempt
  session TEXT NOT NULL,
  device TEXT NOT NULL,
  last_outcome TEXT NOT NULL,      -- of the newest finished attempt
  last_message TEXT NOT NULL,
  result INTEGER REFERENCES runs (id)  -- newest attempt with outcome done: what the views show
) STRICT;
CREATE INDEX jobs_spec_key ON jobs (spec_key);
CREATE INDEX jobs_setting ON jobs (setting, repeat);
CREATE INDEX jobs_model_method ON jobs (model, method);

CREATE TABLE experiment_jobs (
  id INTEGER PRIMARY KEY,          -- run order
  experiment TEXT NOT NULL REFERENCES experiments (name),
  job INTEGER NOT NULL REFERENCES jobs (id),
  yaml_line INTEGER NOT NULL,      -- of the line that made the cell
  priority INTEGER NOT NULL,
  timeout_ms INTEGER NOT NULL,
  retries_crash INTEGER NOT NULL,
  retries_fail INTEGER NOT NULL,
  UNIQUE (experiment, job)
) STRICT;
CREATE INDEX experiment_jobs_job ON experiment_jobs (job);

-- One row per finished attempt. Failures are results too.
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs (id),
  attempt INTEGER NOT NULL,
  outcome TEXT NOT NULL,           -- done | failure | crash | out_of_memory | timeout | ...
  message TEXT NOT NULL,
  evidence TEXT NOT NULL,          -- exit status, signal, tail of standard error
  worker TEXT NOT NULL,
  device TEXT NOT NULL,            -- cpu | cuda:0 | ...
  device_kind TEXT NOT NULL,
  device_name TEXT NOT NULL,
  started_unix_ms INTEGER NOT NULL,
  finished_unix_ms INTEGER NOT NULL,
  weights_digest TEXT NOT NULL,    -- as the worker had them
  dataset_digest TEXT NOT NULL,
  provenance TEXT NOT NULL CHECK (json_valid(provenance)),
  generated_text TEXT NOT NULL,
  prompt_ids TEXT NOT NULL CHECK (json_valid(prompt_ids)),
  new_ids TEXT NOT NULL CHECK (json_valid(new_ids)),
  UNIQUE (job, attempt)
) STRICT;

CREATE TABLE measurements (
  run INTEGER NOT NULL REFERENCES runs (id),
  metric TEXT NOT NULL,            -- "perplexity"; of a part of the model: "outlier_columns:LAYER"
  sample INTEGER NOT NULL,         -- numbers repeated scalars from 0
  unit TEXT NOT NULL,
  value REAL,                      -- NULL: not a number
  PRIMARY KEY (run, metric, sample)
) STRICT, WITHOUT ROWID;

-- Raw samples in the order they were taken, as a JSON array: expand with json_each, or v_samples.
CREATE TABLE samples (
  run INTEGER NOT NULL REFERENCES runs (id),
  metric TEXT NOT NULL,
  unit TEXT NOT NULL,
  count INTEGER NOT NULL,
  "values" TEXT NOT NULL CHECK (json_valid("values")),
  PRIMARY KEY (run, metric)
) STRICT;

-- Which bytes a name stands for: bound by the first run that was done.
CREATE TABLE bindings (
  kind TEXT NOT NULL CHECK (kind IN ('model', 'text')),
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES runs (id),
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  unix_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  json TEXT NOT NULL CHECK (json_valid(json))
) STRICT;
