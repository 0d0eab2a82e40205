#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What a machine said, as one result of KTAP with all others nested below it.
#
#	tests/vm/ktap.sh NUMBER NAME <LINES
#
# LINES are verdicts as the suite in the machine prints them: "ok NAME", "not ok NAME: why",
# "skip NAME: why"; all else is a remark on the verdict before it.  Of a name PROGRAM/TEST the
# first part is a level of its own.  All of one program stands together, in the order in
# which programs first spoke.
#
# The format is that of the kernel's Documentation/dev-tools/ktap.rst: each level has a
# version line, its name, a plan, and results that are numbered from 1.  Without a verdict it
# has failed.
#
# Exit status: 0; 1 something failed.
exec awk -v number="$1" -v name="$2" '
# split_off(TEXT): what stands before ": " becomes @head, the rest @rest
function split_off(text,	at) {
	at = index(text, ": ")
	head = at ? substr(text, 1, at - 1) : text
	rest = at ? substr(text, at + 2) : ""
}

# add(RESULT, DIRECTIVE): the verdict on @head, which went on with @rest
function add(result, directive,	at, group) {
	at = index(head, "/")
	group = at ? substr(head, 1, at - 1) : head
	if (!(group in count)) {
		order[++groups] = group
		count[group] = 0
	}
	if (at)
		nested[group] = 1
	if (result != "ok")
		failed[group] = 1
	count[group]++
	last = group SUBSEP count[group]
	results[last] = result
	names[last] = at ? substr(head, at + 1) : head
	# What introduces a directive is not for names.
	gsub(/ # /, " - ", names[last])
	whys[last] = directive rest == "" ? "" : " # " directive rest
}

function say(indent, n, key) {
	print indent results[key] " " n " " names[key] whys[key]
	for (i = 1; i <= remarks[key]; i++)
		print indent remark[key, i]
}

/^ok / { split_off(substr($0, 4)); add("ok", ""); next }
/^not ok / { split_off(substr($0, 8)); add("not ok", ""); next }
/^skip / {
	split_off(substr($0, 6))
	add("ok", rest == "" ? "SKIP" : "SKIP ")
	next
}
{
	line = /^#/ ? $0 : "# " $0
	if (last == "")
		first[++firsts] = line
	else
		remark[last, ++remarks[last]] = line
}

END {
	if (!groups) {
		head = "verdict"
		rest = "there was none"
		add("not ok", "")
	}
	print "  KTAP version 1"
	print "  # Subtest: " name
	print "  1.." groups
	for (i = 1; i <= firsts; i++)
		print "  " first[i]
	for (g = 1; g <= groups; g++) {
		group = order[g]
		if (!(group in nested) && count[group] == 1) {
			say("  ", g, group SUBSEP 1)
		} else {
			print "    KTAP version 1"
			print "    # Subtest: " group
			print "    1.." count[group]
			for (n = 1; n <= count[group]; n++)
				say("    ", n, group SUBSEP n)
			print "  " (group in failed ? "not ok " : "ok ") g " " group
		}
		if (group in failed)
			bad = 1
	}
	print (bad ? "not ok " : "ok ") number " " name
	exit bad
}'
