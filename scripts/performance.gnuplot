# SPDX-License-Identifier: MIT
# The pictures of docs/performance.md; scripts/performance sets `folder`, where the figures lie, and
# starts this in the root of the project.

set encoding utf8
set border lc rgb "#444444"
set tics textcolor rgb "#222222" nomirror out
ours = "#1f6fb2"
redis = "#d0622d"

# ---- latencies: a bar from the left edge to the median, a line from the least to the greatest

set terminal svg size 900,700 font "sans-serif,13" background rgb "white"
set output "docs/performance-latency.svg"
file = folder . "/latency.tsv"
set datafile separator "\t"
stats file using 3 nooutput
n = STATS_records
stats file using ($3 == 0 ? 1 : 0) nooutput
gaps = STATS_sum
left = 50.0

# 1,000 ns and more in us, 1,000 us and more in ms.
amount(ns) = ns < 1e3 ? sprintf("%.0f ns", ns) : ns < 1e4 ? sprintf("%.1f µs", ns / 1e3) : \
           ns < 1e6 ? sprintf("%.0f µs", ns / 1e3) : sprintf("%.1f ms", ns / 1e6)

# A gap in front of each row of the benchmark: where a side is the first one.
gap(side) = (y = y - 1 - (side == 0 ? 0.8 : 0), y)
label(name, side, peer) = side == 0 ? "{/:Bold " . name . "}" : peer

set title "How long one takes: xpurt (blue), and what else one could use (median; line: least to greatest)" \
    textcolor rgb "#222222"
set logscale x
set xrange [left:4e6]
set yrange [-n - 0.8 * gaps - 0.8:0]
set xtics ("100 ns" 1e2, "1 µs" 1e3, "10 µs" 1e4, "100 µs" 1e5, "1 ms" 1e6)
set grid xtics lc rgb "#dddddd"
set lmargin 26
set key off
set ytics scale 0
y = 0.0
plot file using (left):(gap($3)):(left):4:(y - 0.38):(y + 0.38):($3 == 0 ? 0x1f6fb2 : 0xb0b7bf): \
         ytic(label(strcol(1), $3, strcol(2))) with boxxyerror fs solid noborder lc rgb variable, \
     (y = 0.0, NaN) notitle, \
     file using 4:(gap($3)):5:6 with xerrorbars pt 0 lc rgb "#333333", \
     (y = 0.0, NaN) notitle, \
     file using ($6 * 1.15):(gap($3)):(amount($4)) with labels left tc rgb "#222222" font ",12"

# ---- how figures grow

reset
set encoding utf8
set border 3 lc rgb "#444444"
set tics textcolor rgb "#222222" nomirror out
set terminal svg size 900,380 font "sans-serif,13" background rgb "white"
set output "docs/performance-scaling.svg"
set datafile separator "\t"
set grid ytics lc rgb "#dddddd"
set multiplot layout 1,3 margins 0.07,0.98,0.2,0.88 spacing 0.08,0
set key top left reverse Left samplen 1.5 textcolor rgb "#222222"

set title "Pairs/s by pairs to a frame" textcolor rgb "#222222"
set xlabel "pairs (redis: requests) at a time" textcolor rgb "#222222"
set logscale xy
set xrange [0.8:350]
set xtics (1, 4, 16, 64, 256)
set yrange [1e4:2e7]
set ytics ("10 k" 1e4, "100 k" 1e5, "1 M" 1e6, "10 M" 1e7)
plot folder . "/frame.tsv" using 1:2 with linespoints pt 7 ps 0.7 lw 2 lc rgb ours title "xpurt", \
     "" using 1:3 with linespoints pt 5 ps 0.7 lw 2 lc rgb redis title "redis INCR"

set title "Time per record by sessions"
set xlabel "sessions that submit at once"
unset logscale y
set key off
set xrange [0.7:1500]
set xtics (1, 10, 100, 1000)
set yrange [0:*]
set ytics auto
set format y "%.0f ns"
plot folder . "/sessions.tsv" using 1:2 with linespoints pt 7 ps 0.7 lw 2 lc rgb ours

set title "Records/s by threads"
set xlabel "threads of one process, by the ring"
unset logscale x
set logscale x 2
set xrange [0.8:10]
set xtics (1, 2, 4, 8)
set format y "%.0f M"
plot folder . "/threads.tsv" using 1:($2 / 1e6) with linespoints pt 7 ps 0.7 lw 2 lc rgb ours
unset multiplot
