-- A disturbed window stands in no headline, and whoever asks these two views wants headlines. The
-- speed of a cell is over the repeats that count, `disturbed` says how many do not (their sizes and
-- quality do); a speed-up is flagged where a side of it was disturbed. v_results has all runs.

DROP VIEW v_summary;
CREATE VIEW v_summary AS -- speed, size and quality of each cell, medians over repeats that count
WITH measured AS (
  SELECT c.*, s.shown = 'flagged' AS flagged,
    CASE WHEN s.shown <> 'flagged' THEN (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'decode_tokens_per_s') END AS decode,
    CASE WHEN s.shown <> 'flagged' THEN (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'prefill_tokens_per_s') END AS prefill,
    CASE WHEN s.shown <> 'flagged' THEN (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'token_latency_p50') END AS p50,
    CASE WHEN s.shown <> 'flagged' THEN (SELECT value FROM measurements
      WHERE run = c.run AND sample = 0 AND metric = 'token_latency_p99') END AS p99,
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
  FROM v_cells c JOIN job_states s ON s.id = c.job
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
  protocol, SUM(NOT flagged) AS repeats, SUM(flagged) AS disturbed,
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

DROP VIEW v_speedup;
CREATE VIEW v_speedup AS -- decode rate over the 16-bit baseline's, paired by repeat and device
WITH paired AS (
  SELECT c.*,
    (SELECT fs.result FROM job_specs f JOIN job_states fs ON fs.id = f.id
      JOIN shared_specs fp ON fp.id = f.shared
      JOIN experiment_jobs fl ON fl.job = f.id AND fl.experiment = c.experiment
      JOIN runs fr
        ON fr.id = fs.result AND fr.device_kind = c.device AND fr.device_name = c.device_name
      WHERE f.setting = c.setting AND f.repeat = c.repeat AND f.baseline = 1
      ORDER BY fp.method DESC LIMIT 1) AS baseline_run
  FROM v_cells c
)
SELECT p.experiment, p.model, p.method, p.threshold, p.head, p.kv, p.device, p.batch,
  p.prompt_tokens, p.new_tokens, p.protocol, p.repeat, m.value AS decode_tokens_per_s,
  bj.method AS baseline, b.value AS baseline_tokens_per_s, m.value / b.value AS speedup,
  ps.shown = 'flagged' OR bs.shown = 'flagged' AS flagged, p.device_name, p.series
FROM paired p
  JOIN runs br ON br.id = p.baseline_run JOIN job_specs bc ON bc.id = br.job
  JOIN shared_specs bj ON bj.id = bc.shared
  JOIN job_states ps ON ps.id = p.job JOIN job_states bs ON bs.id = br.job
  JOIN measurements m ON m.run = p.run AND m.metric = 'decode_tokens_per_s' AND m.sample = 0
  JOIN measurements b
    ON b.run = p.baseline_run AND b.metric = 'decode_tokens_per_s' AND b.sample = 0
ORDER BY p.experiment, p.position;
