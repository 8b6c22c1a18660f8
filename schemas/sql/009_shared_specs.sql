-- Of a job's 1.6 KiB, nearly all is what the other cells of its matrix have too: an experiment of
-- 100,000 cells wrote the same text 100,000 times. It stands in shared_specs now, with marks where
-- the numbers of job_specs belong (schemas/cell_numbers.h): char(1) batch, char(2) new_tokens, char(3)
-- prompt_tokens, char(4) repeat, char(5) seed, char(6) threads. The view `jobs` shows what it did.
-- migrate.cpp runs this with foreign keys off and checks them afterwards.

PRAGMA legacy_alter_table = ON;  -- names stay what they are
CREATE TABLE shared_specs (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  weights TEXT NOT NULL,           -- real | random
  method TEXT NOT NULL,
  threshold REAL,                  -- outlier threshold; NULL where the method reads none
  head INTEGER NOT NULL,           -- bits of output head and embedding
  kv TEXT NOT NULL,                -- 16 | int8 | fp8
  gpu TEXT NOT NULL,               -- kind of device that was asked for
  protocol TEXT NOT NULL,
  text TEXT NOT NULL,              -- data set of the quality measurement
  weights_digest TEXT NOT NULL,    -- as known at submit; '': the first run tells
  dataset_digest TEXT NOT NULL,
  numerics_revision INTEGER NOT NULL,
  spec TEXT NOT NULL,              -- JSON, with marks
  canonical TEXT NOT NULL          -- canonical JSON, with marks
) STRICT;
-- What is there already stays as it is: texts without marks, one for each job.
INSERT INTO shared_specs SELECT id, model, weights, method, threshold, head, kv, gpu, protocol, text,
  weights_digest, dataset_digest, numerics_revision, spec, canonical FROM job_specs;

CREATE TABLE new_job_specs (
  id INTEGER PRIMARY KEY,
  shared INTEGER NOT NULL REFERENCES shared_specs (id),
  key TEXT NOT NULL,               -- SHA-256 over the four parts of the identity
  batch INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL,  -- 0: the prompt of the spec
  new_tokens INTEGER NOT NULL,
  threads INTEGER NOT NULL,
  seed INTEGER NOT NULL,           -- the 64 bits of the seed as a signed number
  repeat INTEGER NOT NULL,
  baseline INTEGER NOT NULL,       -- 1: a 16-bit method, over which speed-ups are
  series TEXT,                     -- equal for the repeats of one cell; NULL: its spec_key
  setting TEXT NOT NULL,           -- equal for cells that differ in method, threshold, repeat only
  spec_key TEXT NOT NULL           -- SHA-256 of the canonical JSON
) STRICT;
INSERT INTO new_job_specs SELECT id, id, key, batch, prompt_tokens, new_tokens, threads, seed, repeat,
  method IN ('fp16', 'bf16'), nullif(series, spec_key), setting, spec_key FROM job_specs;
DROP TABLE job_specs;
ALTER TABLE new_job_specs RENAME TO job_specs;
CREATE UNIQUE INDEX jobs_key ON job_specs (key);  -- one that can be built by sorting, too
CREATE INDEX jobs_spec_key ON job_specs (spec_key);
CREATE INDEX jobs_baseline ON job_specs (setting, repeat) WHERE baseline = 1;
CREATE INDEX jobs_shared ON job_specs (shared);
CREATE INDEX shared_model_method ON shared_specs (model, method);

-- Members by the index alone; those that left are few.
CREATE INDEX experiment_jobs_former ON experiment_jobs (experiment, job) WHERE asked = 0;

DROP VIEW jobs;
CREATE VIEW jobs AS -- every cell of any experiment once: what it asks for and how it stands
SELECT c.id, c.key, p.model, p.weights, p.method, p.threshold, p.head, p.kv, p.gpu, c.batch,
  c.prompt_tokens, c.new_tokens, p.protocol, c.threads, c.seed, c.repeat, p.text,
  replace(replace(replace(replace(replace(replace(p.spec, char(1), c.batch), char(2), c.new_tokens),
    char(3), c.prompt_tokens), char(4), c.repeat), char(5), printf('%u', c.seed)), char(6), c.threads)
    AS spec,
  replace(replace(replace(replace(replace(replace(p.canonical, char(1), c.batch), char(2), c.new_tokens),
    char(3), c.prompt_tokens), char(4), c.repeat), char(5), printf('%u', c.seed)), char(6), c.threads)
    AS canonical,
  COALESCE(c.series, c.spec_key) AS series, c.setting, c.spec_key, p.weights_digest,
  p.dataset_digest, p.numerics_revision, s.state, s.attempt, s.crashes, s.failures, s.worker,
  s.session, s.device, s.last_outcome, s.last_message, s.result, s.kinds_tried, s.outgrew_bytes,
  s.windows_again, s.shown
FROM job_specs c JOIN job_states s ON s.id = c.id JOIN shared_specs p ON p.id = c.shared;

-- Baselines have an index of their own, and their methods stand elsewhere.
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
  p.device_name, p.series
FROM paired p
  JOIN runs br ON br.id = p.baseline_run JOIN job_specs bc ON bc.id = br.job
  JOIN shared_specs bj ON bj.id = bc.shared
  JOIN measurements m ON m.run = p.run AND m.metric = 'decode_tokens_per_s' AND m.sample = 0
  JOIN measurements b
    ON b.run = p.baseline_run AND b.metric = 'decode_tokens_per_s' AND b.sample = 0
ORDER BY p.experiment, p.position;
PRAGMA legacy_alter_table = OFF;
