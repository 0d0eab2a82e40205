#!/bin/bash
# SPDX-License-Identifier: MIT
# tools/run.sh, with a vbrun that only writes down what it is asked for: the order of what
# make run shows, and how it ends.
set -u
. "$(dirname "$0")/lib.sh"

mkdir "$work/bin" "$work/path"
cat >"$work/bin/vbrun" <<END
#!/bin/bash
echo "\$1" >>"$work/calls"
case \$1 in
gen) touch "\$2" ;;
stream) [ ! -e "$work/fail" ] || exit 7 ;;
esac
echo "output of \$1"
END
# No package of a model is to be had.
printf '#!/bin/sh\nexit 1\n' >"$work/path/python3"
chmod +x "$work/bin/vbrun" "$work/path/python3"

# shown: run it; calls in one line
shown() {
	: >"$work/calls"
	PATH=$work/path:$PATH BUILD=$work/bin VBLACKWELL_CACHE=$work/cache tools/run.sh \
		>"$work/out" 2>"$work/err"
}
calls() { tr '\n' ' ' <"$work/calls"; }

shown
verdict run_ends_with_0 test $? -eq 0
verdict run_shows_the_machine_before_anything_else \
	test "$(grep -v '^$' "$work/out" | head -2 | tr '\n' '|')" = "== this machine|output of machine|"
verdict run_makes_the_checkpoint_once_the_machine_is_known \
	test "$(calls | cut -d' ' -f1-2)" = "machine gen"
verdict run_ends_with_the_one_table \
	test "$(tail -2 "$work/out" | tr '\n' '|')" = "== result|output of report|"
verdict run_makes_one_table test "$(grep -c report "$work/calls")" -eq 1
verdict run_says_that_there_is_no_model_package \
	grep -q '^without the model package: embed runs on a generated model' "$work/out"
verdict run_says_that_it_generates_no_text \
	grep -q '^without the model package: no text is generated' "$work/out"
verdict run_without_the_model_generates_nothing test "$(grep -c generate "$work/calls")" -eq 0

shown
verdict run_keeps_the_checkpoint test "$(grep -c gen "$work/calls")" -eq 0

touch "$work/fail"
shown
verdict run_ends_with_the_status_of_what_failed test $? -eq 7
verdict run_that_failed_shows_no_table test "$(grep -c report "$work/calls")" -eq 0
exit $status
