/* The curve of experiments/threshold.yaml: bitsweep query "$(cat curve.sql)" --db threshold.db --format csv
   Columns of linear layers but the head: distinct ones over the scored text, and the mean of a token. */
with layers as (
  select model, device, threshold, sum(columns) as columns, round(sum(columns_per_token), 2) as columns_per_token
  from v_outliers where repeat = 0 and layer not like '%lm_head' group by 1, 2, 3
), speed as (
  select c.model, c.device, c.threshold, min(m.value) as ns
  from v_cells c join measurements m on m.run = c.run and m.sample = 0 and m.metric = 'token_latency_p50' group by 1, 2, 3
)
select q.model, q.device, q.threshold, q.kl_mean, q.top1_agreement, coalesce(l.columns, 0) as columns,
  coalesce(l.columns_per_token, 0) as columns_per_token, round(s.ns / 1000, 1) as us_per_token
from v_quality q join speed s on s.model = q.model and s.device = q.device and s.threshold = q.threshold
left join layers l on l.model = q.model and l.device = q.device and l.threshold = q.threshold
order by q.device, q.model, q.threshold
