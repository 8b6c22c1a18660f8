// The style of a report: system fonts, two palettes, paper. One file, nothing is fetched.
#pragma once

#include <string_view>

namespace bitsweep {

// Series colours after Okabe and Ito (Color Universal Design, 2008), darkened on light paper until
// they stand out from it by 3 : 1 (WCAG 1.4.11). Text stands out by 4.5 : 1 or more.
inline constexpr std::string_view report_style = R"css(
:root { color-scheme: light dark; --ink: #1a1f26; --dim: #56606b; --paper: #ffffff; --rule: #d8dde3;
  --band: #f3f5f8; --faster: #0f6b36; --slower: #a8281b; --accent: #0b5cad;
  --s0: #4d5761; --s1: #0b67ad; --s2: #b8500a; --s3: #0a7d5c; --s4: #9b3f86; --s5: #8a6d00;
  --s6: #2a8fb8; --s7: #b03a48; }
@media screen and (prefers-color-scheme: dark) { :root {
  --ink: #e6eaee; --dim: #a0abb6; --paper: #13171c;
  --rule: #343c46; --band: #1c2229; --faster: #62c88b; --slower: #f08a7c; --accent: #7db8f0;
  --s0: #b4bec8; --s1: #56a9ee; --s2: #f0954a; --s3: #3fc79b; --s4: #dd8cc8; --s5: #dcc04a;
  --s6: #74d0ee; --s7: #f2858f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2.5rem 1.25rem 5rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 3.2rem 0 .8rem; padding-top: 1rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
.question { margin: .35rem 0 1.3rem; color: var(--dim); font-size: 1.05rem; }
.answer { font-size: 1.08rem; margin: 0; padding: .9rem 1.1rem; background: var(--band);
  border-left: .3rem solid var(--accent); border-radius: .2rem; }
.extent { color: var(--dim); font-size: .92rem; margin: .7rem 0 0; }
.answer p { margin: 0 0 .5rem; } .answer p:last-child { margin: 0; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin-top: 1.3rem; font-size: .92rem; }
a { color: var(--accent); }
li { margin: .25rem 0; }
ul { padding-left: 1.2rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .24rem .6rem; text-align: left; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--rule); vertical-align: bottom; }
thead small { display: block; color: var(--dim); font-weight: normal; }
tbody th { background: var(--band); padding-top: .45rem; }
tbody tr { border-bottom: 1px solid var(--rule); }
.right { text-align: right; }
.faster { color: var(--faster); } .slower { color: var(--slower); }
figure { margin: 1.4rem 0; }
figcaption { color: var(--dim); font-size: .9rem; max-width: 54rem; margin-top: .3rem; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: 0 0 .4rem; font-size: .9rem; }
.legend span { display: inline-flex; align-items: center; gap: .35rem; white-space: nowrap; }
.key { width: 16px; height: 16px; flex: none; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr));
  gap: 1rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr));
  gap: 1.5rem; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--accent); }
pre { background: var(--band); padding: .8rem 1rem; overflow-x: auto; font-size: .85rem;
  border-radius: .2rem; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: var(--ink);
  overflow: visible; }
.small { font-size: 11px; fill: var(--dim); paint-order: stroke; stroke: var(--paper);
  stroke-width: 3px; stroke-linejoin: round; } .axis { fill: var(--dim); }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: var(--rule); stroke-width: 1; }
.rule { stroke: var(--ink); stroke-width: 1.4; }
.line { fill: none; stroke-width: 1.8; } .dashed { stroke-dasharray: 5 4; }
.whisker { stroke-width: 1.4; opacity: .75; } .mark { stroke-width: 1.6; }
.mark.hollow { fill: var(--paper); } .band { opacity: .13; stroke: none; }
.part { stroke: var(--paper); stroke-width: 1; }
.neutral { stroke: var(--dim); fill: var(--dim); } path.neutral { fill: none; }
.s0 { stroke: var(--s0); fill: var(--s0); } .s1 { stroke: var(--s1); fill: var(--s1); }
.s2 { stroke: var(--s2); fill: var(--s2); } .s3 { stroke: var(--s3); fill: var(--s3); }
.s4 { stroke: var(--s4); fill: var(--s4); } .s5 { stroke: var(--s5); fill: var(--s5); }
.s6 { stroke: var(--s6); fill: var(--s6); } .s7 { stroke: var(--s7); fill: var(--s7); }
path.line { fill: none; } .mark.hollow { fill: var(--paper); }
.p0 { fill: var(--s1); } .p1 { fill: var(--s2); } .p2 { fill: var(--s4); } .p3 { fill: var(--s5); }
.p4 { fill: var(--s7); } .p5 { fill: var(--s6); } .p6 { fill: var(--s0); } .p7 { fill: var(--s3); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media screen and (max-width: 40rem) { figure { overflow-x: auto; }
  figure > svg[role=img] { min-width: 38rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  :root { color-scheme: light; }
  figure, tr, li { break-inside: avoid; } h2, h3, caption, thead { break-after: avoid; }
  h2 { margin-top: 1.6rem; } .wide { overflow: visible; }
  table { font-size: 7.2pt; width: 100%; } th, td { padding: .15rem .3rem; white-space: normal; }
  td.right { white-space: nowrap; } pre { white-space: pre-wrap; overflow: visible; } }
)css";

}  // namespace bitsweep
