-- Windows that do not count are measured again, a bounded number of times; of a cell's attempts the
-- newest whose window counts is shown. Sentinels measure one cell on one card again and again: they
-- are jobs, with attempts and runs like any other, but members of no experiment and cells of no view.

ALTER TABLE job_states ADD COLUMN windows_again INTEGER NOT NULL DEFAULT 0; -- measured again so often
ALTER TABLE job_states ADD COLUMN shown TEXT NOT NULL DEFAULT 'nothing' -- what `result` is
  CHECK (shown IN ('nothing', 'flagged', 'valid'));

CREATE TABLE sentinels (
  job INTEGER PRIMARY KEY REFERENCES job_specs (id),
  experiment TEXT NOT NULL REFERENCES experiments (name),
  reference INTEGER NOT NULL REFERENCES job_specs (id), -- the cell that it measures again
  card TEXT NOT NULL                               -- UUID, or worker/device where there is none
) STRICT;

UPDATE job_states SET shown = CASE WHEN EXISTS (SELECT 1 FROM measurements m WHERE m.run = job_states.result
    AND m.sample = 0 AND m.value > 0 AND m.metric IN ('window_throttled', 'window_foreign_process',
    'foreign_processes', 'window_clock_drift', 'window_temperature_drift'))
  THEN 'flagged' ELSE 'valid' END WHERE result IS NOT NULL;

DROP VIEW jobs;
CREATE VIEW jobs AS -- every cell of any experiment once: what it asks for and how it stands
SELECT c.id, c.key, c.model, c.weights, c.method, c.threshold, c.head, c.kv, c.gpu, c.batch,
  c.prompt_tokens, c.new_tokens, c.protocol, c.threads, c.seed, c.repeat, c.text, c.spec,
  c.canonical, c.series, c.setting, c.spec_key, c.weights_digest, c.dataset_digest,
  c.numerics_revision, s.state, s.attempt, s.crashes, s.failures, s.worker, s.session, s.device,
  s.last_outcome, s.last_message, s.result, s.kinds_tried, s.outgrew_bytes, s.windows_again, s.shown
FROM job_specs c JOIN job_states s ON s.id = c.id;

CREATE VIEW v_sentinels AS -- the cell that watches each card, in order: how much the card changed
WITH between_two AS (
  SELECT json_extract(r.provenance, '$.sentinel') AS tie, count(*) AS jobs
  FROM jobs j JOIN runs r ON r.job = j.id
  WHERE j.protocol = 'headline' AND r.outcome = 'done' AND j.id NOT IN (SELECT job FROM sentinels)
  GROUP BY 1
)
SELECT s.experiment, s.card, r.device_name, r.worker, j.model, j.method, r.attempt,
  r.started_unix_ms, m.value AS tokens_per_s,
  m.value / lag(m.value) OVER card - 1 AS change_since_last,
  m.value / first_value(m.value) OVER card - 1 AS change_since_first,
  COALESCE(b.jobs, 0) AS jobs_after,
  json_extract(r.provenance, '$.sentinel') IS NOT NULL AS compared, r.id AS run, j.key
FROM sentinels s JOIN jobs j ON j.id = s.job JOIN runs r ON r.job = j.id AND r.outcome = 'done'
  LEFT JOIN between_two b ON b.tie = j.key || '#' || r.attempt
  LEFT JOIN measurements m ON m.run = r.id AND m.sample = 0 AND m.metric =
    CASE WHEN EXISTS (SELECT 1 FROM measurements d WHERE d.run = r.id AND d.sample = 0
      AND d.metric = 'decode_tokens_per_s') THEN 'decode_tokens_per_s' ELSE 'prefill_tokens_per_s' END
WINDOW card AS (PARTITION BY s.job ORDER BY r.attempt)
ORDER BY s.experiment, s.card, r.attempt;

CREATE VIEW v_again AS -- attempts whose window did not count, and what became of the cell
SELECT l.experiment, j.model, j.method, j.threshold, j.head, j.kv, r.device_kind AS device, j.batch,
  j.protocol, j.repeat, r.attempt, group_concat(m.metric, ', ') AS flags, r.device_name,
  r.started_unix_ms, j.windows_again, j.shown, j.result = r.id AS is_shown, j.key
FROM experiment_jobs l JOIN jobs j ON j.id = l.job JOIN runs r ON r.job = j.id
  JOIN measurements m ON m.run = r.id AND m.sample = 0 AND m.value > 0
    AND m.metric IN ('window_throttled', 'window_foreign_process', 'foreign_processes',
      'window_clock_drift', 'window_temperature_drift', 'window_rate_drift', 'window_sentinel_drift')
WHERE l.asked = 1 GROUP BY l.id, r.id ORDER BY l.experiment, l.id, r.attempt;

DROP VIEW v_windows;
-- What the worker saw of the machine while it measured (worker/metrics/README.md has the names).
CREATE VIEW v_windows AS -- clocks, heat, power and company of each measured window; flagged: disturbed
SELECT w.*,
  COALESCE(w.window_throttled, 0) + COALESCE(w.window_foreign_process, 0)
    + COALESCE(w.window_clock_drift, 0) + COALESCE(w.window_temperature_drift, 0)
    + COALESCE(w.window_rate_drift, 0) + COALESCE(w.window_sentinel_drift, 0) > 0 AS flagged
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
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'window_rate_drift') AS window_rate_drift,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'window_sentinel_drift')
    AS window_sentinel_drift,
  c.position, c.run FROM v_cells c) w
ORDER BY w.experiment, w.position;
