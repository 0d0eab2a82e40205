#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Ask the kernel's headers what they look like: distributions carry signatures over
# from later versions, so a version number says nothing.
#
#	kmod/conftest.sh HEADER RELEASE COMPILER...
#
# Writes HEADER unless this script made it for RELEASE already.
set -u

header=$1 release=$2
shift 2
key="$release, $(cksum <"$0")"
grep -qsF "for $key */" "$header" && exit 0
mkdir -p "$(dirname "$header")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# has NAME COMPILER...: does the program on standard input compile?
has() {
	name=$1
	shift
	{ echo '#include <linux/module.h>'; cat; } >"$work/try.c"
	if "$@" -Werror -Wno-unused -Wno-missing-prototypes -Wno-missing-declarations \
		-c "$work/try.c" -o "$work/try.o" >"$work/log" 2>&1; then
		echo "#define $name 1" >>"$work/header"
	fi
}

echo "/* What the headers have; made by kmod/conftest.sh for $key */" >"$work/header"

has VB_TRY "$@" <<-END
	int ok(void) { return 0; }
END
if ! grep -q VB_TRY "$work/header"; then
	echo "kmod/conftest.sh: the compiler cannot build against these headers:" >&2
	head -5 "$work/log" >&2
	exit 1
fi
has VB_HAS_VM_FLAGS_SET "$@" <<-END
	#include <linux/mm.h>
	void ok(struct vm_area_struct *vma) { vm_flags_set(vma, 0); }
END
has VB_HAS_FOLIO_LARGE_MAPCOUNT "$@" <<-END
	#include <linux/mm.h>
	int ok(struct folio *f) { return folio_large_mapcount(f); }
END
has VB_HAS_PAGE_DOUBLE_MAP "$@" <<-END
	#include <linux/mm.h>
	int ok(struct page *p) { return PageDoubleMap(p); }
END
has VB_HAS_EVENTFD_SIGNAL_ONE "$@" <<-END
	#include <linux/eventfd.h>
	void ok(struct eventfd_ctx *e) { eventfd_signal(e); }
END
has VB_HAS_SHRINKER_ALLOC "$@" <<-END
	#include <linux/shrinker.h>
	struct shrinker *ok(void) { return shrinker_alloc(0, "try"); }
END
has VB_HAS_IMPORT_NS_TOKEN "$@" <<-END
	MODULE_IMPORT_NS(DMA_BUF);
END
has VB_HAS_DMA_BUF_MAP_UNLOCKED "$@" <<-END
	#include <linux/dma-buf.h>
	void *ok(struct dma_buf_attachment *a) { return dma_buf_map_attachment_unlocked(a, 0); }
END
has VB_HAS_DMA_BUF_VMAP_UNLOCKED "$@" <<-END
	#include <linux/dma-buf.h>
	int ok(struct dma_buf *b, struct iosys_map *m) { return dma_buf_vmap_unlocked(b, m); }
END
has VB_HAS_URING_CMD_H "$@" <<-END
	#include <linux/io_uring/cmd.h>
	int ok(struct io_uring_cmd *c) { return c->cmd_op; }
END
if grep -q VB_HAS_URING_CMD_H "$work/header"; then
	uring=linux/io_uring/cmd.h
else
	uring=linux/io_uring.h
fi
# Where the payload of a command is: in its entry of the ring, or pointed to.
has VB_HAS_URING_SQE "$@" <<-END
	#include <$uring>
	const void *ok(struct io_uring_cmd *c) { return c->sqe->cmd; }
END
# The result of a command had a second half.
has VB_HAS_URING_DONE_TWO "$@" <<-END
	#include <$uring>
	void ok(struct io_uring_cmd *c) { io_uring_cmd_done(c, 0, 0, 0); }
END
has VB_HAS_URING_TASK_REQ "$@" <<-END
	#include <$uring>
	void work(struct io_tw_req req, io_tw_token_t token) { io_uring_cmd_from_tw(req); }
	void ok(struct io_uring_cmd *c) { io_uring_cmd_complete_in_task(c, work); }
END
has VB_HAS_URING_CANCEL "$@" <<-END
	#include <$uring>
	int ok(struct io_uring_cmd *c) { io_uring_cmd_mark_cancelable(c, 0); return IO_URING_F_CANCEL; }
END
mv "$work/header" "$header"
