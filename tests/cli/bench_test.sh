#!/bin/bash
# SPDX-License-Identifier: MIT
# The benchmarks: each one builds, runs in its short form and writes lines as Documentation/bench.md
# has them; what is beyond a limit is said. No speed is judged here.
set -u
. "$(dirname "$0")/lib.sh"
export LC_ALL=C

if ! make -s -j"$(nproc)" benches >"$work/make" 2>&1; then
	not_ok benches_build "$(tail -1 "$work/make")"
	exit 1
fi
ok benches_build

# --- each in its short form; names of the lines that it must write ---
export BENCH_SHORT=1 BENCH_JSONL=$work/bench.jsonl VBLACKWELL_CACHE=$work/cache TMPDIR=$work
unset BENCH_RUNS
lines_of() {
	case $1 in
	io) echo io crc32c ;;
	pack) echo pack decode acts ;;
	pack_file) echo pack_file packed_read ;;
	policy) echo policy- ;;
	stream) echo stream route ;;
	*) echo "$1" ;;
	esac
}
# Cores that this may run on: two threads of one have no way between them to measure.
cores=$(for cpu in $(python3 -c 'import os; print(*os.sched_getaffinity(0))'); do
	cat /sys/devices/system/cpu/cpu$cpu/topology/{physical_package_id,core_id} 2>/dev/null |
		xargs | grep . || echo "$cpu"
done | sort -u | wc -l)
for source in bench/*.c; do
	name=$(basename "$source" .c)
	rm -f "$BENCH_JSONL"
	if ! $build/bench/$name >"$work/out" 2>&1; then
		not_ok bench_${name}_runs "$(tail -1 "$work/out")"
	elif grep -q 'no module' "$work/out"; then
		echo "skip bench_${name}_writes_lines_as_documented: no module (make bench-vm has one)"
	elif grep -q 'nobody to hand work to' "$work/out"; then
		echo "skip bench_${name}_writes_lines_as_documented: one thread"
	else
		# shellcheck disable=SC2046
		why=$(tests/cli/bench_lines.py "$BENCH_JSONL" $(lines_of $name) 2>&1) &&
			ok bench_${name}_writes_lines_as_documented ||
			not_ok bench_${name}_writes_lines_as_documented "$(echo "$why" | head -1)"
	fi
	case $name in
	matmul | moe | attention | pack)
		want=$(wc -l <"$BENCH_JSONL")
		[ "$cores" -gt 1 ] || want=0
		verdict bench_${name}_says_the_core_to_core_round_trip \
			test "$(grep -c '^\(no \)\?core-to-core round trip' "$work/out")" -eq 1
		verdict bench_${name}_has_the_round_trip_in_every_line \
			test "$(grep -c '"round_trip_ns":' "$BENCH_JSONL")" -eq "$want"
		;;
	esac
done

# --- and what is wrong in a line is found ---
good='"bench":"submit","mode":"inline","threads":1,"unit":"1/s","ours":6,"peer":"p","theirs":3'
good="$good,\"ratio\":2,\"bound\":12,\"fraction\":0.5,\"runs\":7"
# line NAME TEXT WANTED: the checker says WANTED of a line, or nothing
line() {
	local said
	echo "$2" >"$work/line"
	said=$(tests/cli/bench_lines.py "$work/line" submit 2>&1 | head -1)
	verdict "bench_line_$1" test "$(echo "$said" | cut -d: -f2 | cut -c2-)" = "$3"
}
line that_is_right_is_taken "{$good}" ''
line without_runs_is_found "{${good%,*}}" 'runs is missing'
line without_a_parameter_is_found "{${good/\"threads\":1,/}}" 'threads is missing'
line with_text_for_a_count_is_found "{${good/\"threads\":1/\"threads\":\"1\"}}" 'threads is no count'
line with_nothing_for_ours_is_found "{${good/\"ours\":6/\"ours\":0}}" 'ours is no number above 0'
line with_a_wrong_ratio_is_found "{${good/\"ratio\":2/\"ratio\":0.5}}" 'ratio is 0.5, must be 2'
line with_a_wrong_fraction_is_found "{${good/0.5/2}}" 'fraction is 2, must be 0.5'
line with_less_as_more_is_found "{${good/1\/s/s}}" 'ratio is 2, must be 0.5'
line with_an_unknown_unit_is_found "{${good/1\/s/apples}}" 'unit is not known'
line with_a_list_is_found "{$good,\"x\":[1]}" 'x is not flat'
line of_an_unknown_bench_is_found "{${good/submit/other}}" 'bench is not known'
line cut_off_is_found "{$good" "no JSON"

# --- a peer in a process of its own: the faster of its forms is taken, a type that it lacks is said ---
peer=$PWD/tests/cli/bench_peer.py
rm -f "$BENCH_JSONL"
ERROR=0.003 BENCH_GGML=$peer $build/bench/matmul --shape 64x64 --weight bf16 1 8 >"$work/out" 2>&1
verdict bench_peer_is_asked test $? -eq 0
verdict bench_peer_is_named_with_its_faster_form grep -q 'its 9.9 FAST' "$work/out"
# lines_of_ggml EXPRESSION: true of each line beside ggml, which there are
lines_of_ggml() {
	python3 -c '
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
lines = [line for line in lines if line.get("peer") == "ggml"]
sys.exit(not lines or not all(eval(sys.argv[2], line) for line in lines))' "$BENCH_JSONL" "$1"
}
# 2 x 64 x 64 operations a row in 2 ms; 0.003 x 0.003.
verdict bench_peer_has_its_rate lines_of_ggml 'abs(theirs / (m * 0.004096) - 1) < 1e-4'
verdict bench_matmul_has_the_errors_of_both \
	lines_of_ggml 'abs(peer_nmse / 9e-6 - 1) < 1e-3 and 0 < nmse < 4e-6'
ERROR=1e-4 BENCH_GGML=$peer $build/bench/matmul --shape 64x64 --weight bf16 1 >"$work/out" 2>&1
verdict bench_matmul_less_accurate_than_ggml_fails test $? -eq 1
verdict bench_matmul_says_what_is_less_accurate \
	grep -q '^matmul: bf16 a16 of m = 1: NMSE .*, ggml has 1e-08' "$work/out"
ERROR=0.5 BENCH_GGML=$peer $build/bench/matmul --shape 64x64 --weight bf16 1 >"$work/out" 2>&1
verdict bench_matmul_that_is_wrong_fails test $? -eq 1
verdict bench_matmul_says_who_is_wrong grep -q "ggml's bf16 of m = 1 is wrong: NMSE 0.25" "$work/out"
BENCH_GGML=$peer $build/bench/matmul --weight int8 1 >"$work/out" 2>&1
verdict bench_peer_without_the_type_is_said \
	grep -q 'SKIP: no peer ggml for q8_0: error no products of type q8_0' "$work/out"
BENCH_GGML='echo no ggml here >&2; exit 3' $build/bench/matmul --weight mxfp4 1 >"$work/out" 2>&1
verdict bench_goes_on_without_a_peer test $? -eq 0
verdict bench_peer_that_is_not_there_is_said grep -q 'SKIP: no peer ggml' "$work/out"

# oneDNN where its library is: one of its own products of F32 and of INT8 in A8, none beside A16.
if ldconfig -p | grep -q libdnnl.so.2; then
	rm -f "$BENCH_JSONL"
	$build/bench/matmul --weight f32 2 >"$work/out" 2>&1
	$build/bench/matmul --weight int8 2 >>"$work/out" 2>&1
	verdict bench_onednn_multiplies_f32_and_int8_in_a8 test "$(python3 -c '
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
print(*sorted({line["weight"] + "-" + line["mode"] for line in lines if line.get("peer") == "onednn"}))' \
		"$BENCH_JSONL")" = "f32-f32 int8-a8"
else
	echo "SKIP: no libdnnl.so.2"
fi

# Faster with F16; a decode of 128 keys, 8 heads of 128 of F32, in 1 ms. Its outputs are wrong.
cat >"$work/ggml" <<'END'
#!/bin/bash
echo ok 9.9
while read -r what name rest; do
	case $what in
	attention) case $name in f32) ms=2 ;; *) ms=1 ;; esac; echo ok ;;
	attend) echo "ok 0.00$ms$(printf ' 9%.0s' {1..16})" ;;
	esac
done
END
chmod +x "$work/ggml"
rm -f "$BENCH_JSONL"
BENCH_GGML=$work/ggml $build/bench/attention --mode decode --threads 1 >"$work/out" 2>&1
verdict bench_attention_asks_its_peer test $? -eq 0
verdict bench_attention_names_the_faster_type grep -q 'its 9.9 f16' "$work/out"
verdict bench_attention_has_the_rate_of_the_peer \
	lines_of_ggml 'weight == "f32" and (head_dim != 128 or abs(theirs - 1.048576) < 1e-5)'
verdict bench_attention_that_differs_is_said grep -q "results differ from ggml's by" "$work/out"
# Of other formats GB/s are of their bytes, and ggml has the same. OpenBLAS's results are compared, too.
for kv in f16:f16:0.524288 bf16:bf16:0.524288 int8:q8_0:0.278528; do
	IFS=: read -r ours its rate <<<"$kv"
	rm -f "$BENCH_JSONL"
	BENCH_GGML=$work/ggml $build/bench/attention --mode decode --threads 1 --kv "$ours" >"$work/out" 2>&1
	verdict bench_attention_of_${ours}_runs test $? -eq 0
	verdict bench_attention_of_${ours}_asks_for_$its grep -q "its 9.9 $its\$" "$work/out"
	verdict bench_attention_of_${ours}_has_the_rate_of_its_bytes \
		lines_of_ggml "weight == '$ours' and (head_dim != 128 or abs(theirs - $rate) < 1e-5)"
	verdict bench_attention_of_${ours}_is_as_that_of_its_values \
		test -z "$(grep 'results differ by' "$work/out")"
done
$build/bench/attention --kv f8 >"$work/out" 2>&1
verdict bench_attention_of_an_unknown_format_says_which_it_knows grep -q 'f32|f16|bf16|int8' "$work/out"

# Packing on one thread and two, or on as many as are asked for.
# threads_of_pack: of all lines of weights that are packed
threads_of_pack() {
	sed -n 's/^{"bench":"pack",.*"threads":\([0-9]*\),.*/\1/p' "$BENCH_JSONL" | sort -u | xargs
}
rm -f "$BENCH_JSONL"
$build/bench/pack >"$work/out" 2>&1
want=1
[ "$(getconf _NPROCESSORS_ONLN)" -lt 2 ] || want="1 2"
verdict bench_pack_is_of_one_thread_and_two test "$(threads_of_pack)" = "$want"
rm -f "$BENCH_JSONL"
$build/bench/pack --threads 3 >"$work/out" 2>&1
verdict bench_pack_is_of_the_threads_asked_for test "$(threads_of_pack)" = 3
$build/bench/pack 2 >"$work/out" 2>&1
verdict bench_pack_says_what_it_takes grep -q 'usage: pack ' "$work/out"

# A mixture of experts whose outputs are wrong.
cat >"$work/ggml" <<'END'
#!/bin/bash
echo ok 9.9
while read -r what name rest; do
	case $what in
	experts) echo ok SLOW FAST ;;
	route) case $name in SLOW) echo "ok 0.004$SAMPLES" ;; *) echo "ok 0.002$SAMPLES" ;; esac ;;
	esac
done
END
SAMPLES=$(printf ' 9%.0s' {1..16}) BENCH_GGML=$work/ggml \
	$build/bench/moe --weight mxfp4 --threads 1 1 >"$work/out" 2>&1
verdict bench_moe_that_is_wrong_fails test $? -eq 1
verdict bench_moe_says_who_is_wrong grep -q "ggml's mxfp4 of 1 tokens is wrong: NMSE" "$work/out"
$build/bench/moe --routing random >"$work/out" 2>&1
verdict bench_moe_says_what_it_takes grep -q 'usage: moe ' "$work/out"
$build/bench/attention --mode nothing >"$work/out" 2>&1
verdict bench_of_an_unknown_attention_fails test $? -eq 1
$build/bench/matmul --weight mxfp5 >"$work/out" 2>&1
verdict bench_of_an_unknown_weight_fails test $? -eq 1
$build/bench/matmul --threads 3 >"$work/out" 2>&1
verdict bench_matmul_of_three_threads_says_what_it_takes grep -q 'usage: matmul ' "$work/out"
$build/bench/matmul --shape 100x64 >"$work/out" 2>&1
verdict bench_of_a_wrong_shape_says_which_are_right grep -q 'multiples of 64' "$work/out"
unset BENCH_SHORT

# --- the limits: a stream benchmark beside a tool that says what it is told ---
mkdir -p "$work/fake/bench" "$work/cache"
cp $build/bench/stream "$work/fake/bench/"
cat >"$work/fake/vbrun" <<'END'
#!/bin/bash
# Fractions of whole passes and of routed tokens come from the environment.
[ "$1" = gen ] && { head -c 4096 /dev/zero >"$2"; exit 0; }
case "$*" in
*--route*) f=$ROUTED ;;
*--m\ 32\ --mode\ a16*) f=$PASSES_M32_A16 ;;
*) f=0.95 ;;
esac
echo "{\"bench\":\"stream\",\"unit\":\"s\",\"ours\":1,\"bound\":$f,\"fraction\":$f,\"runs\":5}"
END
chmod +x "$work/fake/vbrun"

# judged NAME STATUS PATTERN PASSES_M32_A16 ROUTED
judged() {
	PASSES_M32_A16=$4 ROUTED=$5 VBLACKWELL_CACHE=$work/cache BENCH_JSONL=$work/fake.jsonl \
		BENCH_SHORT='' "$work/fake/bench/stream" >"$work/out" 2>"$work/err"
	local got=$?
	if [ $got -ne "$2" ]; then
		not_ok "$1" "exit status $got, must be $2: $(head -c 200 "$work/err")"
	elif [ -n "$3" ] && ! grep -qE "$3" "$work/err"; then
		not_ok "$1" "'$(cat "$work/err")' does not match '$3'"
	elif [ -z "$3" ] && [ -s "$work/err" ]; then
		not_ok "$1" "it says '$(cat "$work/err")'"
	else
		ok "$1"
	fi
}
judged stream_within_its_limits_ends_with_0 0 '' 0.88 0.67
judged stream_pass_over_1.15_times_its_bound_ends_with_1 1 \
	'^stream m = 32 a16: 1\.163 times .*; at most 1\.15$' 0.86 0.67
judged stream_token_over_1.5_times_the_optimum_ends_with_1 1 \
	'^route zipf seed [0-9]+: 1\.515 times .*; at most 1\.50$' 0.88 0.66
judged stream_without_a_bound_ends_with_1 1 '^stream m = 32 a16: ' 0 0.67
verdict stream_has_a_row_for_each_m_and_mode \
	test "$(grep -cE '^stream m = (1|32|512) a(8|16) ' "$work/out")" -eq 6

# --- and a quality benchmark likewise ---
cp $build/bench/quality "$work/fake/bench/"
mkdir -p "$work/bench" "$work/cache/models/gemma-3-270m-Q4_K_M"
touch "$work/cache/models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf"
printf '#!/bin/sh\necho /texts/a.txt\n' >"$work/bench/text.sh"
chmod +x "$work/bench/text.sh"
cat >"$work/fake/vbrun" <<'END'
#!/bin/bash
echo '{"bench":"quality","weight":"f32","mode":"f32","ours":9}'
echo '{"bench":"quality","weight":"file","mode":"f32","ours":10}'
echo "{\"bench\":\"quality\",\"weight\":\"file\",\"mode\":\"a16\",\"ours\":$A16}"
END
# quality_judged NAME STATUS PERPLEXITY
quality_judged() {
	A16=$3 BENCH_JSONL=$work/fake.jsonl "$work/fake/bench/quality" >"$work/out" 2>"$work/err"
	verdict "$1" test $? -eq "$2"
}
quality_judged quality_a16_within_a_thousandth_ends_with_0 0 10.0099
quality_judged quality_a16_over_a_thousandth_ends_with_1 1 10.0101
verdict quality_over_its_limit_is_said grep -qx 'quality: file a16 is 0.101% from file f32; at most 0.1%' "$work/err"
quality_judged quality_a16_under_a_thousandth_ends_with_1 1 9.9899
exit $status
