-- An experiment that is submitted again is what its newest file says. Cells that the file no longer
-- has keep their results and leave the experiment: the views show what is asked now, and v_former
-- what was asked before.

ALTER TABLE experiment_jobs ADD COLUMN asked INTEGER NOT NULL DEFAULT 1; -- 0: asked for before

DROP VIEW v_cells;
CREATE VIEW v_cells AS -- what was run: one row per experiment, cell and repeat that has a result
SELECT l.experiment, j.model, j.method, j.threshold, j.head, j.kv, r.device_kind AS device,
  j.batch, j.prompt_tokens, j.new_tokens, j.protocol, j.repeat, j.weights, j.threads, j.seed,
  j.text, r.device_name, r.worker, r.attempt, r.started_unix_ms, r.finished_unix_ms,
  j.series, j.setting, l.id AS position, j.id AS job, r.id AS run, j.key
FROM experiment_jobs l JOIN jobs j ON j.id = l.job JOIN runs r ON r.id = j.result
WHERE l.asked = 1;

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
