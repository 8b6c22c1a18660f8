-- A job's row had 2 KiB and was rewritten three times in a job's life, which was a third of what the
-- coordinator did. What never changes now stands in job_specs, what changes in the narrow
-- job_states, and the view `jobs` shows both as before. migrate.cpp runs this with foreign keys off
-- and checks them afterwards.

-- Takes the references of experiment_jobs and runs along: what belongs to a job refers to its state,
-- of which 40 are on a page, not to its specification, of which 2 are.
ALTER TABLE jobs RENAME TO job_states;
PRAGMA legacy_alter_table = ON;  -- from here on names stay what they are

-- `spec` and `canonical` are JSON; the one writer makes them, so that they are not parsed again.
CREATE TABLE job_specs (
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
  spec TEXT NOT NULL,
  canonical TEXT NOT NULL,
  series TEXT NOT NULL,            -- equal for the repeats of one cell
  setting TEXT NOT NULL,           -- equal for cells that differ in method, threshold, repeat only
  spec_key TEXT NOT NULL,          -- SHA-256 of `canonical`
  weights_digest TEXT NOT NULL,    -- as known at submit; '': the first run tells
  dataset_digest TEXT NOT NULL,
  numerics_revision INTEGER NOT NULL
) STRICT;
INSERT INTO job_specs SELECT id, key, model, weights, method, threshold, head, kv, gpu, batch,
  prompt_tokens, new_tokens, protocol, threads, seed, repeat, text, spec, canonical, series,
  setting, spec_key, weights_digest, dataset_digest, numerics_revision FROM job_states;

CREATE TABLE new_job_states (
  id INTEGER PRIMARY KEY REFERENCES job_specs (id),
  state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
  attempt INTEGER NOT NULL,        -- last one handed out
  crashes INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  worker TEXT NOT NULL,            -- of the running attempt
  session TEXT NOT NULL,
  device TEXT NOT NULL,
  last_outcome TEXT NOT NULL,      -- of the newest finished attempt
  last_message TEXT NOT NULL,
  result INTEGER REFERENCES runs (id),  -- newest attempt with outcome done: what the views show
  kinds_tried TEXT NOT NULL,       -- where it ran out of memory, one kind a line
  outgrew_bytes INTEGER NOT NULL   -- memory that was too little
) STRICT;
INSERT INTO new_job_states SELECT id, state, attempt, crashes, failures, worker, session, device,
  last_outcome, last_message, result, kinds_tried, outgrew_bytes FROM job_states;
DROP TABLE job_states;
ALTER TABLE new_job_states RENAME TO job_states;
CREATE INDEX jobs_spec_key ON job_specs (spec_key);
CREATE INDEX jobs_setting ON job_specs (setting, repeat);
CREATE INDEX jobs_model_method ON job_specs (model, method);

CREATE VIEW jobs AS -- every cell of any experiment once: what it asks for and how it stands
SELECT c.id, c.key, c.model, c.weights, c.method, c.threshold, c.head, c.kv, c.gpu, c.batch,
  c.prompt_tokens, c.new_tokens, c.protocol, c.threads, c.seed, c.repeat, c.text, c.spec,
  c.canonical, c.series, c.setting, c.spec_key, c.weights_digest, c.dataset_digest,
  c.numerics_revision, s.state, s.attempt, s.crashes, s.failures, s.worker, s.session, s.device,
  s.last_outcome, s.last_message, s.result, s.kinds_tried, s.outgrew_bytes
FROM job_specs c JOIN job_states s ON s.id = c.id;

-- The renaming wrote job_states into the views that say jobs.
DROP VIEW v_cells;
CREATE VIEW v_cells AS -- what was run: one row per experiment, cell and repeat that has a result
SELECT l.experiment, j.model, j.method, j.threshold, j.head, j.kv, r.device_kind AS device,
  j.batch, j.prompt_tokens, j.new_tokens, j.protocol, j.repeat, j.weights, j.threads, j.seed,
  j.text, r.device_name, r.worker, r.attempt, r.started_unix_ms, r.finished_unix_ms,
  j.series, j.setting, l.id AS position, j.id AS job, r.id AS run, j.key
FROM experiment_jobs l JOIN jobs j ON j.id = l.job JOIN runs r ON r.id = j.result
WHERE l.asked = 1;

DROP VIEW v_former;
CREATE VIEW v_former AS -- results of cells that an experiment asked for before its file was edited
SELECT l.experiment, j.model, j.method, j.threshold, j.head, j.kv, r.device_kind AS device,
  j.batch, j.prompt_tokens, j.new_tokens, j.protocol, j.repeat,
  (SELECT value FROM measurements
    WHERE run = r.id AND sample = 0 AND metric = 'decode_tokens_per_s') AS decode_tokens_per_s,
  (SELECT value FROM measurements
    WHERE run = r.id AND sample = 0 AND metric = 'perplexity') AS perplexity,
  r.device_name, r.finished_unix_ms, l.id AS position, j.id AS job, r.id AS run, j.key
FROM experiment_jobs l JOIN jobs j ON j.id = l.job JOIN runs r ON r.id = j.result
WHERE l.asked = 0 ORDER BY l.experiment, l.id;

DROP VIEW v_failures;
CREATE VIEW v_failures AS -- every attempt that did not succeed, with its class and evidence
SELECT l.experiment, j.model, j.method, j.threshold, j.head, j.kv, j.gpu AS device, j.batch,
  j.repeat, r.attempt, r.outcome, r.message, r.evidence, j.state AS job_state, r.worker,
  r.device_name, r.started_unix_ms, r.finished_unix_ms, j.key
FROM experiment_jobs l JOIN jobs j ON j.id = l.job JOIN runs r ON r.job = j.id
WHERE r.outcome <> 'done' AND l.asked = 1 ORDER BY l.experiment, l.id, r.attempt;

DROP VIEW v_speedup;
CREATE VIEW v_speedup AS -- decode rate over the 16-bit baseline's, paired by repeat and device
WITH paired AS (
  SELECT c.*,
    (SELECT f.result FROM jobs f
      JOIN experiment_jobs fl ON fl.job = f.id AND fl.experiment = c.experiment
      JOIN runs fr
        ON fr.id = f.result AND fr.device_kind = c.device AND fr.device_name = c.device_name
      WHERE f.setting = c.setting AND f.repeat = c.repeat AND f.method IN ('fp16', 'bf16')
      ORDER BY f.method DESC LIMIT 1) AS baseline_run
  FROM v_cells c
)
SELECT p.experiment, p.model, p.method, p.threshold, p.head, p.kv, p.device, p.batch,
  p.prompt_tokens, p.new_tokens, p.protocol, p.repeat, m.value AS decode_tokens_per_s,
  bj.method AS baseline, b.value AS baseline_tokens_per_s, m.value / b.value AS speedup,
  p.device_name, p.series
FROM paired p
  JOIN runs br ON br.id = p.baseline_run JOIN job_specs bj ON bj.id = br.job
  JOIN measurements m ON m.run = p.run AND m.metric = 'decode_tokens_per_s' AND m.sample = 0
  JOIN measurements b
    ON b.run = p.baseline_run AND b.metric = 'decode_tokens_per_s' AND b.sample = 0
ORDER BY p.experiment, p.position;
PRAGMA legacy_alter_table = OFF;
