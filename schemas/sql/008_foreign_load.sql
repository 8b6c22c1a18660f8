-- A CPU window whose threads waited for cores that other processes used does not count either
-- (worker/metrics/run_queue.h). schemas/catalog/windows.cpp has the list of what a window is flagged
-- for; a test holds these views to it.

DROP VIEW v_again;
CREATE VIEW v_again AS -- attempts whose window did not count, and what became of the cell
SELECT l.experiment, j.model, j.method, j.threshold, j.head, j.kv, r.device_kind AS device, j.batch,
  j.protocol, j.repeat, r.attempt, group_concat(m.metric, ', ') AS flags, r.device_name,
  r.started_unix_ms, j.windows_again, j.shown, j.result = r.id AS is_shown, j.key
FROM experiment_jobs l JOIN jobs j ON j.id = l.job JOIN runs r ON r.job = j.id
  JOIN measurements m ON m.run = r.id AND m.sample = 0 AND m.value > 0
    AND m.metric IN ('window_throttled', 'window_foreign_process', 'foreign_processes',
      'window_foreign_load', 'window_clock_drift', 'window_temperature_drift', 'window_rate_drift',
      'window_sentinel_drift')
WHERE l.asked = 1 GROUP BY l.id, r.id ORDER BY l.experiment, l.id, r.attempt;

DROP VIEW v_windows;
-- What the worker saw of the machine while it measured (worker/metrics/README.md has the names).
CREATE VIEW v_windows AS -- clocks, heat, power and company of each measured window; flagged: disturbed
SELECT w.*,
  COALESCE(w.window_throttled, 0) + COALESCE(w.window_foreign_process, 0)
    + COALESCE(w.foreign_processes, 0) + COALESCE(w.window_foreign_load, 0)
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
    WHERE run = c.run AND sample = 0 AND metric = 'foreign_processes') AS foreign_processes,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'run_queue_wait_share') AS run_queue_wait_share,
  (SELECT value FROM measurements
    WHERE run = c.run AND sample = 0 AND metric = 'window_foreign_load') AS window_foreign_load,
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
