// SPDX-License-Identifier: MIT
/* Requests: what each looks like, and who answers it. */
#include "uapi_loop.h"
#include "uapi_rule.h"

#include <fcntl.h>

#define FIRST_EXEC_NR	0x40u

_Static_assert(sizeof(struct vb_ioc_object_open) <= VGPU_RULE_BYTES_MAX, "largest structure");

struct client_entry {
	struct vgpu_rule rule;
	int (*call)(struct loop_client *c, void *arg);
};

struct exec_entry {
	struct vgpu_rule rule;
	int (*call)(struct loop_exec *x, void *arg);
};

#define ENTRY(request, type, function, ...) \
	[_IOC_NR(request)] = { { VGPU_RULE_SIZE(type), __VA_ARGS__ }, function }
#define EXEC_ENTRY(request, type, function, ...) \
	[_IOC_NR(request) - FIRST_EXEC_NR] = { { VGPU_RULE_SIZE(type), __VA_ARGS__ }, function }
#define RESERVED(type)		.reserved = VGPU_RULE_FIELD(type, __reserved)

static int not_in_process(struct loop_client *c, void *arg)
{
	(void)c;
	(void)arg;
	return -EOPNOTSUPP;
}

static int not_in_process_exec(struct loop_exec *x, void *arg)
{
	(void)x;
	(void)arg;
	return -EOPNOTSUPP;
}

static const struct client_entry client_table[] = {
	ENTRY(VB_IOC_QUERY_DEVICE, vb_ioc_query_device, vgpu_loop_query_device,
	      RESERVED(vb_ioc_query_device)),
	ENTRY(VB_IOC_QUERY_TIER, vb_ioc_query_tier, vgpu_loop_query_tier),
	ENTRY(VB_IOC_STATS, vb_ioc_stats, vgpu_loop_stats),
	ENTRY(VB_IOC_LIMIT, vb_ioc_limit, vgpu_loop_limit,
	      VGPU_RULE_FLAGS(vb_ioc_limit, flags, VB_LIMIT_SET | VB_LIMIT_USER)),
	ENTRY(VB_IOC_BO_CREATE, vb_ioc_bo_create, vgpu_loop_bo_create,
	      RESERVED(vb_ioc_bo_create)),
	ENTRY(VB_IOC_BO_DESTROY, vb_ioc_bo_destroy, vgpu_loop_bo_destroy),
	ENTRY(VB_IOC_BO_INFO, vb_ioc_bo_info, vgpu_loop_bo_info, RESERVED(vb_ioc_bo_info)),
	ENTRY(VB_IOC_BO_MAP, vb_ioc_bo_map, vgpu_loop_bo_map, RESERVED(vb_ioc_bo_map),
	      VGPU_RULE_FLAGS(vb_ioc_bo_map, flags, VB_MAP_READ | VB_MAP_WRITE)),
	ENTRY(VB_IOC_BO_UNMAP, vb_ioc_bo_unmap, vgpu_loop_bo_unmap, RESERVED(vb_ioc_bo_unmap),
	      VGPU_RULE_FLAGS(vb_ioc_bo_unmap, flags, VB_MAP_READ | VB_MAP_WRITE)),
	ENTRY(VB_IOC_BO_READ, vb_ioc_bo_rw, vgpu_loop_bo_read),
	ENTRY(VB_IOC_BO_WRITE, vb_ioc_bo_rw, vgpu_loop_bo_write),
	ENTRY(VB_IOC_BO_SEAL, vb_ioc_bo_seal, vgpu_loop_bo_seal),
	ENTRY(VB_IOC_BO_ADVISE, vb_ioc_bo_advise, vgpu_loop_bo_advise,
	      RESERVED(vb_ioc_bo_advise)),
	ENTRY(VB_IOC_BO_RESIDENCY, vb_ioc_bo_residency, vgpu_loop_bo_residency,
	      RESERVED(vb_ioc_bo_residency)),
	ENTRY(VB_IOC_BO_EXPORT, vb_ioc_bo_export, not_in_process,
	      VGPU_RULE_FLAGS(vb_ioc_bo_export, flags, O_CLOEXEC | O_RDWR)),
	ENTRY(VB_IOC_BO_IMPORT, vb_ioc_bo_import, not_in_process, RESERVED(vb_ioc_bo_import)),
	ENTRY(VB_IOC_QUEUE_CREATE, vb_ioc_queue_create, vgpu_loop_queue_create),
	ENTRY(VB_IOC_QUEUE_DESTROY, vb_ioc_queue_destroy, vgpu_loop_queue_destroy),
	ENTRY(VB_IOC_SUBMIT, vb_ioc_submit, vgpu_loop_submit,
	      VGPU_RULE_FLAGS(vb_ioc_submit, flags, VB_SUBMIT_ASYNC)),
	ENTRY(VB_IOC_WAIT, vb_ioc_wait, vgpu_loop_wait, RESERVED(vb_ioc_wait)),
	ENTRY(VB_IOC_FENCE_EVENTFD, vb_ioc_fence_eventfd, vgpu_loop_fence_eventfd,
	      RESERVED(vb_ioc_fence_eventfd)),
	ENTRY(VB_IOC_SCHEDULE, vb_ioc_schedule, vgpu_loop_schedule, RESERVED(vb_ioc_schedule),
	      VGPU_RULE_FLAGS(vb_ioc_schedule, flags, VB_SCHEDULE_CYCLE)),
};

/* The executor is a thread of its client: they die together. */
static int no_successor(struct loop_exec *x, void *arg)
{
	(void)x;
	(void)arg;
	return -EOPNOTSUPP;
}

static const struct exec_entry exec_table[] = {
	EXEC_ENTRY(VB_IOC_EXEC_ATTACH, vb_ioc_exec_attach, vgpu_loop_attach,
		   RESERVED(vb_ioc_exec_attach)),
	EXEC_ENTRY(VB_IOC_ARENA_CREATE, vb_ioc_arena_create, vgpu_loop_arena_create),
	EXEC_ENTRY(VB_IOC_REGION_ADD, vb_ioc_region, vgpu_loop_region_add),
	EXEC_ENTRY(VB_IOC_REGION_REMOVE, vb_ioc_region, vgpu_loop_region_remove),
	EXEC_ENTRY(VB_IOC_MOVE, vb_ioc_move, vgpu_loop_move),
	EXEC_ENTRY(VB_IOC_FETCH, vb_ioc_fetch, vgpu_loop_fetch, RESERVED(vb_ioc_fetch),
		   VGPU_RULE_FLAGS(vb_ioc_fetch, flags, VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT)),
	EXEC_ENTRY(VB_IOC_COMMIT, vb_ioc_commit, vgpu_loop_commit),
	EXEC_ENTRY(VB_IOC_POLL_CANCEL, vb_ioc_poll_cancel, vgpu_loop_poll_cancel),
	EXEC_ENTRY(VB_IOC_OBJECT_OPEN, vb_ioc_object_open, vgpu_loop_object_open),
	EXEC_ENTRY(VB_IOC_EXCHANGE, vb_ioc_exchange, not_in_process_exec,
		   VGPU_RULE_FLAGS(vb_ioc_exchange, flags,
				   VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT | VB_EXCHANGE_F_STOP |
			 VB_EXCHANGE_F_HOLD_FILLS | VB_EXCHANGE_F_LET_FILLS)),
	EXEC_ENTRY(VB_IOC_EXEC_STATS, vb_ioc_exec_stats, vgpu_loop_exec_stats,
		   RESERVED(vb_ioc_exec_stats)),
	EXEC_ENTRY(VB_IOC_ARENA_QUERY, vb_ioc_arena_query, no_successor,
		   RESERVED(vb_ioc_arena_query)),
	EXEC_ENTRY(VB_IOC_ARENA_ADOPT, vb_ioc_arena_adopt, no_successor,
		   RESERVED(vb_ioc_arena_adopt),
		   VGPU_RULE_FLAGS(vb_ioc_arena_adopt, flags, VB_ADOPT_FORCE)),
	EXEC_ENTRY(VB_IOC_REGION_NEXT, vb_ioc_region, no_successor),
	EXEC_ENTRY(VB_IOC_SLOT_QUERY, vb_ioc_slot_query, no_successor,
		   RESERVED(vb_ioc_slot_query)),
	EXEC_ENTRY(VB_IOC_OBJECT_NEXT, vb_ioc_object_next, no_successor,
		   RESERVED(vb_ioc_object_next)),
	EXEC_ENTRY(VB_IOC_RECOVER, vb_ioc_recover, no_successor, RESERVED(vb_ioc_recover),
		   VGPU_RULE_FLAGS(vb_ioc_recover, flags, VB_RECOVER_DISCARD)),
};

/*
 * The number alone names a request: the size that ioctl numbers carry is that of
 * the caller's structure, which begins with it anyway.
 */
static bool is_ours(unsigned long request)
{
	return _IOC_TYPE(request) == VB_IOC_MAGIC && request <= UINT32_MAX &&
	       _IOC_DIR(request) == (_IOC_READ | _IOC_WRITE);
}

int vgpu_loop_call_client(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	u64 local[VGPU_RULE_BYTES_MAX / sizeof(u64)];
	const struct client_entry *entry;
	u32 nr = _IOC_NR(request);
	int rc;

	if (!is_ours(request) || nr >= sizeof(client_table) / sizeof(client_table[0]) ||
	    !client_table[nr].call)
		return -ENOTTY;
	entry = &client_table[nr];
	rc = vgpu_rule_copy_in(&entry->rule, arg, local);
	if (rc)
		return rc;
	rc = entry->call((struct loop_client *)u, local);
	vgpu_rule_copy_out(&entry->rule, arg, local);
	return rc;
}

int vgpu_loop_call_exec(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct loop_exec *x = (struct loop_exec *)u;
	u64 local[VGPU_RULE_BYTES_MAX / sizeof(u64)];
	const struct exec_entry *entry;
	u32 nr = _IOC_NR(request) - FIRST_EXEC_NR;
	int rc;

	if (!is_ours(request) || nr >= sizeof(exec_table) / sizeof(exec_table[0]) ||
	    !exec_table[nr].call)
		return -ENOTTY;
	entry = &exec_table[nr];
	rc = vgpu_rule_copy_in(&entry->rule, arg, local);
	if (rc)
		return rc;
	/* Until it has attached, the opener has no role. */
	if (!x->attached && entry->call != vgpu_loop_attach)
		return -EPERM;
	rc = entry->call(x, local);
	vgpu_rule_copy_out(&entry->rule, arg, local);
	return rc;
}
