#!/bin/bash
# SPDX-License-Identifier: MIT
# README.md: short, and what it names is there.
set -u
. "$(dirname "$0")/lib.sh"

verdict readme_has_under_120_lines test "$(wc -l <README.md)" -lt 120

# Words in backquotes that are paths; those that are make targets; commands of the tools.
count=0
while read -r path; do
	count=$((count + 1))
	verdict "readme_names_a_file_that_is_there_${path//[^a-zA-Z0-9]/_}" \
		test -e "$path" -o -e "Documentation/$path"
done < <(grep -oE '`[A-Za-z/.-]+(\.md|\.c|/)`' README.md | tr -d '`' | sort -u)
verdict readme_names_files test $count -ge 10
while read -r target; do
	verdict "readme_names_a_target_that_is_there_$target" \
		grep -qE "^([a-z_-]+ )*$target( [a-z_-]+)*:" Makefile tests/vm/Makefile.vm kmod/Makefile.modules
done < <(grep -oE '(^    |`)make [a-z_-]+' README.md | grep -oE '[a-z_-]+$' | sort -u)

# options COMMAND WORD...: each --word is one of the command's
options() {
	local command=$1 word
	shift
	$build/$command --help >"$work/help" 2>&1 || return 1
	for word in "$@"; do
		[[ $word != --* ]] || grep -q "^  $word" "$work/help" || return 1
	done
}
lines=0
while read -r words; do
	lines=$((lines + 1))
	read -r -a words <<<"${words%%  *}"
	length=2
	[[ ! ${words[2]:-} =~ ^[a-z]+$ ]] || length=3
	verdict "readme_names_a_command_that_is_there_$(tr ' ' _ <<<"${words[*]:0:length}")" \
		options "${words[*]:0:length}" "${words[@]:length}"
done < <(sed -nE 's/^    (vb(run|ctl) .*)/\1/p' README.md)
verdict readme_names_commands test $lines -ge 6

# Variables are read by somebody.
count=0
for variable in $(grep -oE 'VBLACKWELL_[A-Z]+' README.md | sort -u); do
	count=$((count + 1))
	verdict "readme_names_a_variable_that_is_read_$variable" \
		grep -rqE "getenv\\(\"$variable\"\\)|text_or\\(.*\"$variable\"\\)" libvgpu tools
done
verdict readme_names_variables test $count -ge 4

# The lines of C are C, against the public header.
{
	echo '#include <vgpu.h>'
	echo 'int main(void) { struct vgpu *v; struct vgpu_bo *weights, *x = 0, *y = 0; int fd = 0;'
	echo 'const struct vgpu_tensor *tensor = 0; struct vgpu_cmdbuf *cb = 0;'
	echo 'struct vgpu_queue *queue = 0; uint32_t n = 1, k = 1;'
	sed -n '/^```c$/,/^```$/p' README.md | grep -v '^```'
	echo 'return 0; }'
} >"$work/readme.c"
verdict readme_has_lines_of_c test "$(wc -l <"$work/readme.c")" -gt 10
verdict readme_c_compiles ${CC:-cc} -std=gnu11 -Wall -Werror -Ilibvgpu -fsyntax-only "$work/readme.c"
exit $status
