#!/bin/bash
# SPDX-License-Identifier: MIT
# --json of every command there is: an object that a parser takes, nothing beside it, with every
# field that Documentation/summaries.md names, of its type.
set -u
. "$(dirname "$0")/lib.sh"

doc=Documentation/summaries.md
export VBLACKWELL_CACHE=$work/cache
cat >"$work/fields.py" <<'END'
# fields.py DOC SECTION FILE: prints the fields that are not as documented
import json, re, sys

doc, section, path = sys.argv[1:]
tables, title = {}, ""
for line in open(doc):
    if line.startswith("#"):
        title = line.strip("# \n")
    row = re.match(r"\| `([^`]+)` \| (\w+)(\??) \|", line)
    if row:
        tables.setdefault(title, []).append(row.groups())
every = tables["Summaries: what `--json` prints"]

def expand(rows, prefix=""):
    for field, kind, optional in rows:
        at = prefix.rstrip(".") if field == "-" else prefix + field
        if kind in tables:
            for f, k, o in expand(tables[kind], at + "." if at else ""):
                yield f, k, o or optional
        else:
            yield at, kind, optional

def walk(value, at=""):
    if isinstance(value, dict):
        for key, v in value.items():
            yield from walk(v, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for v in value:
            yield from walk(v, at + "[]")
    else:
        yield at, value

def fits(kind, v):
    if kind == "integer":
        return type(v) is int
    if kind == "real":
        return v is None or type(v) in (int, float)
    return type(v) is {"text": str, "flag": bool}[kind]

summary = json.load(open(path))
there = {}
for at, value in walk(summary):
    there.setdefault(at, []).append(value)
if next(iter(summary)) != "schema" or summary["schema"] != 1:
    print("schema does not come first, or is not 1")
if not section.split(" ", 1)[1].startswith(summary.get("command", "?")):
    print(f"command is {summary.get('command')}")
for field, kind, optional in expand(every + tables[section]):
    values = there.get(field)
    if values is None and not optional:
        print(f"{field} is missing")
    elif values and not all(fits(kind, v) for v in values):
        print(f"{field} is {values[0]!r}, no {kind}")
END
# What has a section and was asked for; see the end.
tested=""
# summary NAME SECTION COMMAND...
summary() {
	local name=$1 section=$2 rc
	shift 2
	"$@" --json >"$work/$name.json" 2>"$work/err"
	rc=$?
	tested="$tested$section
"
	verdict "${name}_prints_nothing_but_its_summary" test ! -s "$work/err"
	# doctor fails where the machine lacks something.
	verdict "${name}_ends" test $rc -eq 0 -o "$name" = doctor -a $rc -eq 1
	python3 "$work/fields.py" $doc "$section" "$work/$name.json" >"$work/wrong" 2>&1
	if [ $? -eq 0 ] && [ ! -s "$work/wrong" ]; then
		ok "${name}_has_the_documented_fields"
	else
		not_ok "${name}_has_the_documented_fields" "$(head -3 "$work/wrong" | tr '\n' ';')"
	fi
}

m=$work/m.safetensors
tiny=$work/tiny
small="--host 6M --chunk 64K"
$vbrun gen "$tiny" --bert --layers 2 --hidden 96 --ffn 64 >/dev/null
summary gen "vbrun gen" $vbrun gen "$m" --size 24M
summary gen_bert "vbrun gen" $vbrun gen "$work/bert" --bert --layers 1 --hidden 96 --ffn 64
# shellcheck disable=SC2086
summary stream "vbrun stream" $vbrun stream "$m" $small --passes 3 --trace "$work/trace"
# shellcheck disable=SC2086
summary route "vbrun stream --route zipf" $vbrun stream "$m" $small --route zipf --tokens 8
long=$(printf 'word %.0s' {1..300})
summary embed "vbrun embed" $vbrun embed --model "$tiny" --nvme "$work/arena" --accuracy --goal 1 \
	--sentences 4 'One text.' 'And another.' "$long"
$vbrun gen "$work/decoder.gguf" --gemma3 >/dev/null
summary gen_gemma3 "vbrun gen" $vbrun gen "$work/other.gguf" --gemma3 --layers 2
summary generate "vbrun generate" $vbrun generate "$work/decoder.gguf" --prompt 'It is' --tokens 4
summary quality "vbrun quality" $vbrun quality "$work/decoder.gguf" --text $doc --tokens 40 --context 24
summary machine "vbrun machine" $vbrun machine
summary machine_file "vbrun machine" $vbrun machine "$m"
summary report "vbrun report" $vbrun report "$work/stream.json" "$work/route.json" "$work/embed.json" \
	"$work/generate.json"
summary doctor "vbctl doctor" $vbctl doctor --dir "$work"
summary plan "vbctl plan" $vbctl plan "$m" --host 64M --device 8M --format mxfp4
summary plan_measured "vbctl plan" $vbctl plan "$m" --host 64M --measure
summary replay "vbctl replay" $vbctl replay "$work/trace"
summary tensors "vbctl tensor list" $vbctl tensor list "$m"
$vbctl plan "$m" --host 64K --json >"$work/refused.json" 2>/dev/null
verdict a_refused_plan_has_a_summary test \
	-z "$(python3 "$work/fields.py" $doc "vbctl plan" "$work/refused.json" 2>&1)"

verdict report_json_has_a_line_a_run test "$(grep -c '"what":' "$work/report.json")" -ge 7
same_keys report_json_keeps_its_fields "$work/report.json" $golden/report.keys
# --save writes what --json prints.
# shellcheck disable=SC2086
$vbrun stream "$m" $small --passes 2 --save "$work/saved.json" >/dev/null
verdict stream_saves_what_it_prints test \
	-z "$(python3 "$work/fields.py" $doc "vbrun stream" "$work/saved.json" 2>&1)"

# --- a command that is not among these, or has no section ---
# commands PROGRAM: as its help lists them
commands() { $1 --help | sed -n '/^$/,/^$/s/^  \([a-z]*\) *\(list\)\? .*/\1 \2/p' | sed 's/ *$//'; }
for program in vbrun vbctl; do
	commands ${!program} | sed "s/^/$program /"
done | sort >"$work/there"
echo "$tested" | grep . | sed 's/ --.*//' | sort -u >"$work/tested"
verdict every_command_there_is_was_tested cmp -s "$work/there" "$work/tested"
verdict there_are_commands test "$(wc -l <"$work/there")" -ge 9
grep -oE '^## vb(run|ctl) .*' $doc | cut -c4- | sort >"$work/sections"
verdict every_section_was_tested cmp -s "$work/sections" <(echo "$tested" | grep . | sort -u)
exit $status
