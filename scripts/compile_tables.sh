#!/bin/sh
# Compile a report's tables.tex as a paper would: article with booktabs. Fails on any error, and on a box too wide.
# Needs pdflatex: on Debian, apt-get install texlive-latex-recommended
#   scripts/compile_tables.sh runs/demo/report/tables.tex [tables.pdf]
set -eu
tables=$(realpath "${1:?give a tables.tex}")
output=$(realpath -m "${2:-${1%.tex}.pdf}")
grep -q '^.begin{table}' "$tables" || { echo "$0: $1 holds no table" >&2; exit 2; }
command -v pdflatex >/dev/null || { echo "$0: no pdflatex; install texlive-latex-recommended" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/paper.tex" <<TEX
\\documentclass{article}
\\usepackage{booktabs}
\\begin{document}
\\input{$tables}
\\end{document}
TEX
cd "$work"
pdflatex -interaction=nonstopmode -halt-on-error paper.tex >paper.out || { grep -A 5 '^!' paper.out >&2; exit 1; }
if grep -B 1 '^Overfull .hbox' paper.out >&2; then exit 1; fi
mv paper.pdf "$output"
echo "$output"
