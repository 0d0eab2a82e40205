#!/bin/bash
# SPDX-License-Identifier: MIT
# tools/deps.sh on a machine where packages are missing: what it would install, and nothing
# done by those who may not.
set -u
. "$(dirname "$0")/lib.sh"

# A dpkg that knows no package, and an apt-get that must not run.
mkdir "$work/bin"
printf '#!/bin/sh\nexit 1\n' >"$work/bin/dpkg-query"
printf '#!/bin/sh\ntouch "%s/apt-ran"\n' "$work" >"$work/bin/apt-get"
printf '#!/bin/sh\necho 1000\n' >"$work/bin/id"
chmod +x "$work"/bin/*

for target in run bench check; do
	PATH=$work/bin:$PATH tools/deps.sh $target >"$work/out" 2>"$work/err"
	verdict "deps_${target}_ends_with_2_for_others_than_root" test $? -eq 2
	verdict "deps_${target}_says_what_is_missing" \
		grep -q '^packages to install: gcc make .*liburing-dev' "$work/out"
	verdict "deps_${target}_prints_the_line_to_run" \
		grep -q '^run as root: apt-get install -y .*liburing-dev' "$work/err"
done
# Peers of the benchmarks are theirs: make run does not need them.
for target in run bench; do
	PATH=$work/bin:$PATH tools/deps.sh $target >"$work/out.$target" 2>/dev/null
done
verdict deps_of_bench_have_the_peers grep -q 'libopenblas0.* libdnnl2' "$work/out.bench"
verdict deps_of_run_have_no_peers test "$(grep -cE 'openblas|dnnl' "$work/out.run")" -eq 0
verdict deps_installs_nothing_for_others_than_root test ! -e "$work/apt-ran"

# Root: the list comes before apt-get runs.
printf '#!/bin/sh\necho 0\n' >"$work/bin/id"
printf '#!/bin/sh\necho apt-get "$@" >&2\n' >"$work/bin/apt-get"
PATH=$work/bin:$PATH tools/deps.sh run >"$work/both" 2>&1
verdict deps_installs_for_root test $? -eq 0
verdict deps_says_before_it_installs \
	test "$(grep -n '^packages to install' "$work/both" | cut -d: -f1)" -lt \
	"$(grep -n 'apt-get install' "$work/both" | head -1 | cut -d: -f1)"

# Installed packages are not asked for again.
printf '#!/bin/sh\nprintf installed\n' >"$work/bin/dpkg-query"
PATH=$work/bin:$PATH tools/deps.sh check >"$work/out" 2>&1
verdict deps_is_silent_when_all_is_there test $? -eq 0 -a ! -s "$work/out"
refuses deps_refuses_other_words 2 'usage: tools/deps.sh' tools/deps.sh nonsense
exit $status
