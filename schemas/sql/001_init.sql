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

-- The views show each cell's newest successful attempt. `device` is the kind that ran it; a device
-- of another name (another CPU) is another row. NULL: not measured.

CREATE VIEW v_cells AS -- what was run: one row per experiment, cell and repeat that has a result
SELECT l.experiment, j.model, j.method, j.threshold, j.head, j.kv, r.device_kind AS device,
  j.batch, j.prompt_tokens, j.new_tokens, j.protocol, j.repeat, j.weights, j.threads, j.seed,
  j.text, r.device_name, r.worker, r.attempt, r.started_unix_ms, r.finished_unix_ms,
  j.series, j.setting, l.id AS position, j.id AS job, r.id AS run, j.key
FROM experiment_jobs l JOIN jobs j ON j.id = l.job JOIN runs r ON r.id = j.result;

CREATE VIEW v_results AS -- every common metric of one cell and repeat in one wide row
SELECT c.*,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'decode_tokens_per_s') AS decode_tokens_per_s,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'decode_half_width') AS decode_half_width,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'prefill_tokens_per_s') AS prefill_tokens_per_s,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'first_token_ns') AS first_token_ns,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'token_latency_p50') AS token_latency_p50_ns,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'token_latency_p90') AS token_latency_p90_ns,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'token_latency_p99') AS token_latency_p99_ns,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'load_ns') AS load_ns,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'pack_ns') AS pack_ns,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'weights_bytes') AS weights_bytes,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'weights_ratio') AS weights_ratio,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'peak_rss_bytes') AS peak_rss_bytes,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'bytes_per_token') AS bytes_per_token,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'read_bandwidth_share') AS read_bandwidth_share,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'perplexity') AS perplexity,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'kl_mean') AS kl_mean,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'top1_agreement') AS top1_agreement,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'text_identical') AS text_identical,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'text_first_divergence') AS text_first_divergence
FROM v_cells c;

CREATE VIEW v_summary AS -- speed, size and quality of each cell, medians over its repeats
WITH measured AS (
  SELECT c.*,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'decode_tokens_per_s') AS decode,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'prefill_tokens_per_s') AS prefill,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'token_latency_p50') AS p50,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'token_latency_p99') AS p99,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'weights_bytes') AS weights_bytes,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'weights_ratio') AS weights_ratio,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'peak_rss_bytes') AS peak_rss,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'perplexity') AS perplexity,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'kl_mean') AS kl_mean,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'top1_agreement') AS top1,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'text_identical') AS identical,
    (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'text_first_divergence') AS divergence
  FROM v_cells c
), ranked AS (
  SELECT *,
    ROW_NUMBER() OVER (cell ORDER BY decode) AS decode_rank,
    COUNT(decode) OVER cell AS decode_count,
    COUNT(*) OVER cell - COUNT(decode) OVER cell AS decode_missing,
    ROW_NUMBER() OVER (cell ORDER BY prefill) AS prefill_rank,
    COUNT(prefill) OVER cell AS prefill_count,
    COUNT(*) OVER cell - COUNT(prefill) OVER cell AS prefill_missing,
    ROW_NUMBER() OVER (cell ORDER BY p50) AS p50_rank,
    COUNT(p50) OVER cell AS p50_count,
    COUNT(*) OVER cell - COUNT(p50) OVER cell AS p50_missing,
    ROW_NUMBER() OVER (cell ORDER BY p99) AS p99_rank,
    COUNT(p99) OVER cell AS p99_count,
    COUNT(*) OVER cell - COUNT(p99) OVER cell AS p99_missing
  FROM measured WINDOW cell AS (PARTITION BY experiment, series, device, device_name)
)
-- NULLs sort first, so the ranks of the measured repeats begin after the missing ones.
SELECT experiment, model, method, threshold, head, kv, device, batch, prompt_tokens, new_tokens,
  protocol, COUNT(*) AS repeats,
  AVG(decode) FILTER (WHERE decode_rank - decode_missing
    IN ((decode_count + 1) / 2, (decode_count + 2) / 2)) AS decode_tokens_per_s,
  MIN(decode) AS decode_min, MAX(decode) AS decode_max,
  AVG(prefill) FILTER (WHERE prefill_rank - prefill_missing
    IN ((prefill_count + 1) / 2, (prefill_count + 2) / 2)) AS prefill_tokens_per_s,
  AVG(p50) FILTER (WHERE p50_rank - p50_missing
    IN ((p50_count + 1) / 2, (p50_count + 2) / 2)) AS token_latency_p50_ns,
  AVG(p99) FILTER (WHERE p99_rank - p99_missing
    IN ((p99_count + 1) / 2, (p99_count + 2) / 2)) AS token_latency_p99_ns,
  MAX(weights_bytes) / 1048576.0 AS weights_mib, MAX(weights_ratio) AS weights_ratio,
  MAX(peak_rss) / 1048576.0 AS peak_rss_mib,
  MAX(perplexity) AS perplexity, MAX(kl_mean) AS kl_mean, MIN(top1) AS top1_agreement,
  CAST(MIN(identical) AS INTEGER) AS text_identical,
  CAST(MIN(divergence) AS INTEGER) AS text_first_divergence,
  device_name, MIN(position) AS position, series, setting
FROM ranked GROUP BY experiment, series, device, device_name ORDER BY experiment, MIN(position);

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
  JOIN runs br ON br.id = p.baseline_run JOIN jobs bj ON bj.id = br.job
  JOIN measurements m ON m.run = p.run AND m.metric = 'decode_tokens_per_s' AND m.sample = 0
  JOIN measurements b
    ON b.run = p.baseline_run AND b.metric = 'decode_tokens_per_s' AND b.sample = 0
ORDER BY p.experiment, p.position;

CREATE VIEW v_quality AS -- distance from the same model's fp32 logits, where it was measured
SELECT c.experiment, c.model, c.method, c.threshold, c.head, c.kv, c.device, c.protocol, c.repeat,
  c.text,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'quality_tokens') AS tokens,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'perplexity') AS perplexity,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'perplexity_fp32') AS perplexity_fp32,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'bits_per_byte') AS bits_per_byte,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'kl_mean') AS kl_mean,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'kl_median') AS kl_median,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'kl_p99') AS kl_p99,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'kl_max') AS kl_max,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'top1_agreement') AS top1_agreement,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'dp_rms') AS dp_rms,
  CAST((SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'text_identical') AS INTEGER) AS text_identical,
  CAST((SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'text_first_divergence') AS INTEGER)
    AS text_first_divergence,
  (SELECT generated_text FROM runs WHERE id = c.run) AS generated_text
FROM v_cells c
WHERE EXISTS (SELECT 1 FROM measurements
  WHERE run = c.run AND metric IN ('perplexity', 'text_identical'))
ORDER BY c.experiment, c.position;

CREATE VIEW v_memory AS -- the memory ledger in bytes, exact, and the peak of the process
SELECT c.experiment, c.model, c.method, c.threshold, c.head, c.kv, c.device, c.batch,
  c.prompt_tokens, c.new_tokens, c.repeat,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'weights_codes_bytes') AS weights_codes_bytes,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'weights_scales_bytes') AS weights_scales_bytes,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'embeddings_bytes') AS embeddings_bytes,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'other_weights_bytes') AS other_weights_bytes,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'weights_bytes') AS weights_bytes,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'weights_ratio') AS weights_ratio,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'kv_cache_bytes') AS kv_cache_bytes,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'activations_bytes') AS activations_bytes,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'workspace_bytes') AS workspace_bytes,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'allocated_bytes') AS allocated_bytes,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'peak_rss_bytes') AS peak_rss_bytes,
  (SELECT CAST(value AS INTEGER) FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'bytes_per_token') AS bytes_per_token
FROM v_cells c ORDER BY c.experiment, c.position;

CREATE VIEW v_samples AS -- raw samples, one row each, in the order they were taken
SELECT c.experiment, c.model, c.method, c.threshold, c.head, c.kv, c.device, c.batch, c.repeat,
  s.metric, s.unit, e.key AS sample, e.value
FROM v_cells c JOIN samples s ON s.run = c.run JOIN json_each(s."values") e;

CREATE VIEW v_outliers AS -- outlier columns of each linear layer at the cell's threshold
SELECT c.experiment, c.model, c.method, c.threshold, c.device, c.repeat,
  substr(m.metric, length('outlier_columns:') + 1) AS layer, CAST(m.value AS INTEGER) AS columns,
  (SELECT value FROM measurements WHERE run = m.run AND sample = 0
    AND metric = 'outlier_columns_per_token' || substr(m.metric, length('outlier_columns') + 1))
    AS columns_per_token,
  (SELECT value FROM measurements WHERE run = m.run AND sample = 0
    AND metric = 'outlier_max_abs' || substr(m.metric, length('outlier_columns') + 1)) AS max_abs
FROM v_cells c JOIN measurements m
  ON m.run = c.run AND m.sample = 0
    AND m.metric > 'outlier_columns:' AND m.metric < 'outlier_columns;';

CREATE VIEW v_failures AS -- every attempt that did not succeed, with its class and evidence
SELECT l.experiment, j.model, j.method, j.threshold, j.head, j.kv, j.gpu AS device, j.batch,
  j.repeat, r.attempt, r.outcome, r.message, r.evidence, j.state AS job_state, r.worker,
  r.device_name, r.started_unix_ms, r.finished_unix_ms, j.key
FROM experiment_jobs l JOIN jobs j ON j.id = l.job JOIN runs r ON r.job = j.id
WHERE r.outcome <> 'done' ORDER BY l.experiment, l.id, r.attempt;
