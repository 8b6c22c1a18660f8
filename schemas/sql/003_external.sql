-- Results of other tools and published figures, for comparison. They have tables of their own, so
-- that no query over bitsweep's runs can ever pool them.

-- One row per imported file. The same bytes are imported once.
CREATE TABLE external_sources (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,     -- SHA-256 of the file
  file TEXT NOT NULL,              -- its name, without folders
  format TEXT NOT NULL,            -- llama-bench | optimum-benchmark | csv
  imported_unix_ms INTEGER NOT NULL
) STRICT;

-- One row per configuration that somebody else measured. NULL: the source does not say.
CREATE TABLE external_runs (
  id INTEGER PRIMARY KEY,
  source INTEGER NOT NULL REFERENCES external_sources (id),
  position INTEGER NOT NULL,       -- line or element of the file, from 1
  tool TEXT NOT NULL,              -- "llama-bench 0c1e570", "transformers 4.57.0"
  model TEXT NOT NULL,
  parameters REAL,
  method TEXT NOT NULL,            -- the source's own word: "q8_0", "llm.int8"
  weight_bits REAL,                -- average over the model, scales included, where known
  threshold REAL,
  gpu TEXT NOT NULL,
  host TEXT,                       -- CPU of the machine
  batch INTEGER NOT NULL,
  prompt_tokens INTEGER,
  new_tokens INTEGER,
  measured TEXT,                   -- when, as the source writes it
  reference TEXT,                  -- where the figure was published
  note TEXT,
  UNIQUE (source, position)
) STRICT;
CREATE INDEX external_runs_model ON external_runs (model, gpu);

CREATE TABLE external_measurements (
  run INTEGER NOT NULL REFERENCES external_runs (id),
  metric TEXT NOT NULL,            -- the names of worker/metrics/README.md where they mean the same
  unit TEXT NOT NULL,
  value REAL NOT NULL,             -- median of the samples where there are samples
  samples TEXT NOT NULL CHECK (json_valid(samples)),  -- JSON array, in order; [] where none
  PRIMARY KEY (run, metric)
) STRICT, WITHOUT ROWID;

CREATE VIEW v_external AS -- other tools' and published figures, imported; never pooled with ours
SELECT r.tool, r.model, r.parameters, r.method, r.weight_bits, r.threshold, r.gpu, r.host, r.batch,
  r.prompt_tokens, r.new_tokens,
  (SELECT value FROM external_measurements
    WHERE run = r.id AND metric = 'decode_tokens_per_s') AS decode_tokens_per_s,
  (SELECT value FROM external_measurements
    WHERE run = r.id AND metric = 'prefill_tokens_per_s') AS prefill_tokens_per_s,
  (SELECT value FROM external_measurements
    WHERE run = r.id AND metric = 'first_token_ns') AS first_token_ns,
  (SELECT value FROM external_measurements
    WHERE run = r.id AND metric = 'weights_bytes') AS weights_bytes,
  (SELECT value FROM external_measurements
    WHERE run = r.id AND metric = 'device_memory_bytes') AS device_memory_bytes,
  (SELECT value FROM external_measurements
    WHERE run = r.id AND metric = 'energy_per_token') AS energy_per_token_mj,
  (SELECT value FROM external_measurements
    WHERE run = r.id AND metric = 'perplexity') AS perplexity,
  (SELECT json_array_length(samples) FROM external_measurements
    WHERE run = r.id AND metric IN ('decode_tokens_per_s', 'prefill_tokens_per_s')
    ORDER BY metric LIMIT 1) AS samples,
  r.measured, r.reference, r.note, s.file, s.format, r.id AS external_run
FROM external_runs r JOIN external_sources s ON s.id = r.source
ORDER BY r.source, r.position;

-- What the worker saw of the machine while it measured (worker/metrics/README.md has the names).
CREATE VIEW v_windows AS -- clocks, heat, power and company of each measured window; flagged: disturbed
SELECT w.*,
  COALESCE(w.window_throttled, 0) + COALESCE(w.window_foreign_process, 0)
    + COALESCE(w.window_clock_drift, 0) + COALESCE(w.window_temperature_drift, 0) > 0 AS flagged
FROM (SELECT c.experiment, c.model, c.method, c.threshold, c.device, c.repeat, c.started_unix_ms,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'window_s') AS window_s,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'sm_clock_mean') AS sm_clock_mean_mhz,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'sm_clock_min') AS sm_clock_min_mhz,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'temperature_before') AS temperature_before_c,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'temperature_max') AS temperature_max_c,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'throttle_s') AS throttle_s,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'mean_power') AS mean_power_w,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'energy_per_token') AS energy_per_token_mj,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'window_throttled') AS window_throttled,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'window_foreign_process')
    AS window_foreign_process,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'window_clock_drift') AS window_clock_drift,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'window_temperature_drift')
    AS window_temperature_drift,
  c.position, c.run FROM v_cells c) w
ORDER BY w.experiment, w.position;
