#!/bin/sh
# SPDX-License-Identifier: MIT
#
# KTAP, as the verdicts that tests/run.sh counts.
#
#	tests/ktap.sh <KTAP
#
# Prints "ok NAME", "not ok NAME: why" and "skip NAME: why" for each result that nothing is
# nested below, with the names of all levels and "/" between, and what stands behind "#" as it
# is.  Who has nested results is their sum, and is told only where it fails and none of them
# does.  What is not as the kernel's Documentation/dev-tools/ktap.rst wants it is a verdict of
# its own, "not ok ktap: ...": a level without a version line or a plan, another number of
# results than was planned, numbers out of their order, a line of no kind, an end that nobody
# has come to.
#
# Exit status: 0; 1 some verdict is "not ok".
exec awk '
function wrong(what) {
	print "not ok ktap: line " NR ": " what
	bad = 1
}

# A level ends with the result above it: was all of it there?
function leave() {
	if (plan[level] == "")
		wrong("a level without a plan")
	else if (plan[level] != have[level])
		wrong("a plan for " plan[level] " results, and " have[level])
	below[level - 1] += broken[level]
	delete below[level]
	level--
}

function enter() {
	level++
	plan[level] = ""
	have[level] = broken[level] = below[level] = 0
	title[level - 1] = ""
}

# The verdict on the result of @level, whose text is TEXT.
function verdict(result, text, is_sum,	at, number, why, i, full) {
	number = text
	sub(/ .*/, "", number)
	if (number != ++have[level])
		wrong("number " number " stands where " have[level] " must")
	text = substr(text, length(number) + 2)
	sub(/^- /, "", text)
	at = index(text, " # ")
	why = at ? substr(text, at + 3) : ""
	if (at)
		text = substr(text, 1, at - 1)
	title[level] = text
	if (result == "not ok")
		broken[level]++
	full = title[1]
	for (i = 2; i <= level; i++)
		full = full "/" title[i]
	if (is_sum) {
		if (result == "not ok" && !below[level])
			print "not ok " full ": nothing in it"
		else if (result == "ok" && below[level])
			wrong(text " is ok, and what is nested in it is not")
	} else if (why ~ /^SKIP/) {
		sub(/^SKIP */, "", why)
		print "skip " full (why == "" ? "" : ": " why)
	} else {
		print result " " full (why == "" ? "" : ": " why)
	}
	below[level] = 0
	if (result == "not ok")
		bad = 1
}

{
	match($0, /^ */)
	depth = RLENGTH / 2 + 1
	line = substr($0, RLENGTH + 1)
}
line == "KTAP version 1" {
	if (depth != level + 1)
		wrong("a level at another depth than below " level)
	enter()
	next
}
line ~ /^# Subtest: / {
	title[depth - 1] = substr(line, 12)
	next
}
line ~ /^#/ { print line; next }
line ~ /^1\.\.[0-9]+$/ {
	if (depth != level || plan[level] != "" || have[level])
		wrong("a plan out of its place")
	plan[level] = substr(line, 4) + 0
	next
}
line ~ /^(ok|not ok) [0-9]+/ {
	is_sum = depth == level - 1
	if (is_sum)
		leave()
	if (depth != level || !level) {
		wrong("a result at another depth than " level)
		next
	}
	result = line ~ /^ok/ ? "ok" : "not ok"
	verdict(result, substr(line, length(result) + 2), is_sum)
	next
}
{ wrong("neither a result nor a remark: " $0) }

END {
	if (level != 1)
		wrong(level ? "a level has no end" : "no version line")
	while (level > 0)
		leave()
	exit bad
}'
