/* Quality, and bits of the linear layers' weights (codes, scales, zeros; the head is 16 bits in all), of every cell:
   bitsweep query "$(cat table.sql)" --db methods.db --format csv
   fp16 stores two bytes a weight and nothing else. */
with size as (
  select model, method, threshold, 8.0 * (weights_codes_bytes + weights_scales_bytes) as bits from v_memory
), weights as (
  select model, bits / 16 as count from size where method = 'fp16'
)
select q.model, q.method, q.threshold, round(s.bits / w.count, 3) as bits_per_weight, q.tokens,
  round(q.perplexity, 3) as perplexity, q.kl_mean, q.kl_p99, round(q.top1_agreement, 4) as top1_agreement
from v_quality q
join size s on s.model = q.model and s.method = q.method and s.threshold is q.threshold
join weights w on w.model = q.model
order by q.model, q.method, q.threshold
