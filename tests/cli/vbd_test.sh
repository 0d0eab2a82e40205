#!/bin/bash
# SPDX-License-Identifier: MIT
# vbd as a user calls it, without a module: what it refuses, with which status and words.
set -u
. "$(dirname "$0")/lib.sh"

vbd=$build/vbd
none=$work/no-device
who=
[ "$(id -u)" -eq 0 ] && who="--user nobody"

verdict help_has_status_0 $vbd --help >"$work/help"
for option in host nvme threads policy engine user exec; do
	verdict "help_names_$option" grep -q -- "--$option " "$work/help"
done
refuses usage_no_arguments 2 'takes none' $vbd $who something
refuses usage_no_size 2 'Q is no size' $vbd $who --nvme "$work/arena:12Q"
refuses usage_no_bytes 2 'is no size' $vbd $who --nvme "$work/arena:0"
refuses usage_no_policy 2 'none of replay, schedule, freq, lru' $vbd $who --policy best
if [ "$(id -u)" -eq 0 ]; then
	refuses usage_root_must_become_somebody 2 '--user says who' $vbd --device "$none"
	refuses usage_root_is_not_given_up_for_root 2 'root again' $vbd --user root
	refuses usage_no_such_user 2 'no such user' $vbd --user nobody-of-this-name
else
	refuses usage_only_root_becomes_another 2 'only root' $vbd --user nobody
fi
# shellcheck disable=SC2086
refuses fails_without_a_device 1 \
	"^vbd: level=error op=device errno=ENODEV text=\"$none: no device; is the module" \
	$vbd $who --device "$none"
verdict fails_without_making_an_arena test ! -e "$work/arena"
exit $status
