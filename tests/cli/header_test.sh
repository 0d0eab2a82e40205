#!/bin/bash
# SPDX-License-Identifier: MIT
# The comments of the two public headers are complete, and what looks for gaps finds them.
set -u
. "$(dirname "$0")/lib.sh"

library=libvgpu/vgpu.h
uapi=include/uapi/linux/vblackwell.h
doc=tests/cli/header_doc.py

# complete NAME KIND HEADER
complete() {
	if python3 $doc "$2" "$3" >"$work/gaps"; then
		ok "$1"
	else
		not_ok "$1" "$(wc -l <"$work/gaps") gaps"
		cat "$work/gaps"
	fi
}
complete every_function_parameter_and_field_of_the_library_is_documented library $library
complete every_field_range_request_and_errno_of_the_contract_is_documented uapi $uapi

# finds NAME KIND HEADER SED WANT: of a header that SED changed, exactly WANT is said
finds() {
	sed -E "$4" "$3" >"$work/changed.h"
	if cmp -s "$3" "$work/changed.h"; then
		not_ok "$1" "'$4' changes nothing"
		return
	fi
	python3 $doc "$2" "$work/changed.h" >"$work/gaps"
	if [ "$(cat "$work/gaps")" = "$5" ]; then ok "$1"; else not_ok "$1" "$(head -3 "$work/gaps")"; fi
}
# Within one function's comment and declaration, or one structure's.
read_call='/^ \* vgpu_bo_read\(\)/,/^VGPU_API/'
finds a_parameter_without_text library $library "$read_call { /^ \* @offset/d }" \
	'vgpu_bo_read(): nothing about @offset'
finds a_parameter_that_is_not_there library $library "$read_call s/@offset:/@place:/" \
	'vgpu_bo_read(): nothing about @offset
vgpu_bo_read(): has no parameter @place'
finds a_function_that_says_not_what_it_returns library $library "$read_call s/Return: 0;/It ends with/" \
	'vgpu_bo_read(): nothing about what it returns'
finds a_function_without_its_comment library $library 's/^ \* vgpu_bo_read\(\) -/ * reads/' \
	'vgpu_bo_read(): no comment that begins with its name'
finds a_field_of_the_library library $library '/^struct vgpu_config/,/^};/ s/uint32_t flags;/&\n\tuint32_t more;/' \
	'struct vgpu_config: nothing about @more'
finds a_field_of_the_contract uapi $uapi '/struct vb_ioc_wait -/,/^};/ { /^ \* @seqno/d }' \
	'struct vb_ioc_wait: nothing about @seqno'
finds a_field_that_says_not_which_bits uapi $uapi \
	'/struct vb_ioc_submit -/,/^};/ s/@flags: .*/@flags: how/' \
	'struct vb_ioc_submit: @flags does not say which bits, or that it is 0'
finds a_reserved_field_that_may_be_anything uapi $uapi \
	'/struct vb_ioc_wait -/,/^};/ s/@__reserved: .*/@__reserved: later/' \
	'struct vb_ioc_wait: @__reserved does not say that it is 0'
finds a_number_that_says_not_its_range uapi $uapi \
	'/struct vb_ioc_move -/,/^};/ s/(@count: moves).*/\1, taken in order/' \
	'struct vb_ioc_move: @count does not say its range'
finds a_range_that_left_the_table uapi $uapi '/^ \*   @offset /d' \
	'struct vb_ioc_bo_map: @offset does not say its range
struct vb_ioc_bo_advise: @offset does not say its range
struct vb_range: @offset does not say its range'
finds an_output_without_its_prefix uapi $uapi \
	'/struct vb_ioc_fetch -/,/^};/ { s/@out_tag: /@tag: out: /; s/ out_tag;/ tag;/ }' \
	'struct vb_ioc_fetch: @tag is only written, and does not begin with out_'
finds a_request_that_says_not_what_it_locks uapi $uapi \
	'/struct vb_ioc_wait -/,/^};/ s/Context:/So:/' \
	'VB_IOC_WAIT: no Context: which locks, what it waits for'
finds a_lock_that_there_is_not uapi $uapi \
	'/struct vb_ioc_wait -/,/^};/ s/work lock/fence lock/' \
	'VB_IOC_WAIT: takes the "fence lock", which the top does not name'
finds a_request_without_a_structure_that_names_it uapi $uapi \
	's/ioctl\(VB_IOC_WAIT\)/a wait/' \
	'VB_IOC_WAIT: the comment of struct vb_ioc_wait does not name it'
finds an_errno_that_is_not_in_the_table uapi $uapi '/^ \*   -ESTALE /d' '-ESTALE: not in the table of errors'
exit $status
