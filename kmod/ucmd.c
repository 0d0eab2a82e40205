// SPDX-License-Identifier: GPL-2.0
/*
 * Requests: what each looks like, and who answers it.
 *
 * A structure begins with its own size.  A shorter one than ours is filled up with
 * zeros and its outputs are cut; a longer one is taken when its tail is zero.
 * Reserved fields are zero, unknown flags are refused.  One table says all this, so
 * that no handler can forget it (libvgpu/uapi_rule.h is its twin).
 */
#include "ucmd.h"

#include <linux/fcntl.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "adopt.h"
#include "arena.h"
#include "bo.h"
#include "client.h"
#include "cpu.h"
#include "exec.h"
#include "fence.h"
#include "import.h"
#include "limit.h"
#include "queue.h"
#include "recover.h"
#include "region.h"
#include "move.h"
#include "submit.h"

#define FIRST_EXEC_NR	0x40u
#define TAIL_MAX	4096u	/* longest structure that a caller may know */

/**
 * struct rule - what a request looks like
 * @bytes: sizeof() its structure; 0: there is no such request
 * @flags_offset: of its __u32 flags; 0 when it has none
 * @flags: those that are allowed
 * @reserved: offset of what must be zero
 * @reserved_bytes: length of it; 0 is nothing
 */
struct rule {
	u16 bytes, flags_offset;
	u32 flags;
	u16 reserved, reserved_bytes;
};

struct client_entry {
	struct rule rule;
	int (*call)(struct vb_client *c, struct vb_ucmd *u);
};

struct exec_entry {
	struct rule rule;
	int (*call)(struct vb_exec *x, struct vb_ucmd *u);
};

#define ENTRY(request, type, function, ...) \
	[_IOC_NR(request)] = { { .bytes = sizeof(struct type), __VA_ARGS__ }, function }
#define EXEC_ENTRY(request, type, function, ...) \
	[_IOC_NR(request) - FIRST_EXEC_NR] = \
		{ { .bytes = sizeof(struct type), __VA_ARGS__ }, function }
#define RESERVED(type) \
	.reserved = offsetof(struct type, __reserved), \
	.reserved_bytes = sizeof(((struct type *)0)->__reserved)
#define FLAGS(type, mask)	.flags_offset = offsetof(struct type, flags), .flags = (mask)

static const struct client_entry client_table[] = {
	ENTRY(VB_IOC_QUERY_DEVICE, vb_ioc_query_device, vb_query_device,
	      RESERVED(vb_ioc_query_device)),
	ENTRY(VB_IOC_QUERY_TIER, vb_ioc_query_tier, vb_query_tier),
	ENTRY(VB_IOC_STATS, vb_ioc_stats, vb_stats),
	ENTRY(VB_IOC_LIMIT, vb_ioc_limit, vb_limit,
	      FLAGS(vb_ioc_limit, VB_LIMIT_SET | VB_LIMIT_USER)),
	ENTRY(VB_IOC_BO_CREATE, vb_ioc_bo_create, vb_bo_create, RESERVED(vb_ioc_bo_create)),
	ENTRY(VB_IOC_BO_DESTROY, vb_ioc_bo_destroy, vb_bo_destroy),
	ENTRY(VB_IOC_BO_INFO, vb_ioc_bo_info, vb_bo_info, RESERVED(vb_ioc_bo_info)),
	ENTRY(VB_IOC_BO_MAP, vb_ioc_bo_map, vb_bo_map, RESERVED(vb_ioc_bo_map),
	      FLAGS(vb_ioc_bo_map, VB_MAP_READ | VB_MAP_WRITE)),
	ENTRY(VB_IOC_BO_UNMAP, vb_ioc_bo_unmap, vb_bo_unmap, RESERVED(vb_ioc_bo_unmap),
	      FLAGS(vb_ioc_bo_unmap, VB_MAP_READ | VB_MAP_WRITE)),
	ENTRY(VB_IOC_BO_READ, vb_ioc_bo_rw, vb_bo_read),
	ENTRY(VB_IOC_BO_WRITE, vb_ioc_bo_rw, vb_bo_write),
	ENTRY(VB_IOC_BO_SEAL, vb_ioc_bo_seal, vb_bo_seal),
	ENTRY(VB_IOC_BO_ADVISE, vb_ioc_bo_advise, vb_bo_advise, RESERVED(vb_ioc_bo_advise)),
	ENTRY(VB_IOC_BO_RESIDENCY, vb_ioc_bo_residency, vb_bo_residency,
	      RESERVED(vb_ioc_bo_residency)),
	ENTRY(VB_IOC_BO_EXPORT, vb_ioc_bo_export, vb_bo_export,
	      FLAGS(vb_ioc_bo_export, O_CLOEXEC | O_RDWR)),
	ENTRY(VB_IOC_BO_IMPORT, vb_ioc_bo_import, vb_bo_import, RESERVED(vb_ioc_bo_import)),
	ENTRY(VB_IOC_QUEUE_CREATE, vb_ioc_queue_create, vb_queue_create),
	ENTRY(VB_IOC_QUEUE_DESTROY, vb_ioc_queue_destroy, vb_queue_destroy),
	ENTRY(VB_IOC_SUBMIT, vb_ioc_submit, vb_submit, FLAGS(vb_ioc_submit, VB_SUBMIT_ASYNC)),
	ENTRY(VB_IOC_WAIT, vb_ioc_wait, vb_wait, RESERVED(vb_ioc_wait)),
	ENTRY(VB_IOC_FENCE_EVENTFD, vb_ioc_fence_eventfd, vb_fence_eventfd,
	      RESERVED(vb_ioc_fence_eventfd)),
	ENTRY(VB_IOC_SCHEDULE, vb_ioc_schedule, vb_schedule, RESERVED(vb_ioc_schedule),
	      FLAGS(vb_ioc_schedule, VB_SCHEDULE_CYCLE)),
};

static const struct exec_entry exec_table[] = {
	EXEC_ENTRY(VB_IOC_EXEC_ATTACH, vb_ioc_exec_attach, vb_exec_attach,
		   RESERVED(vb_ioc_exec_attach)),
	EXEC_ENTRY(VB_IOC_ARENA_CREATE, vb_ioc_arena_create, vb_arena_create),
	EXEC_ENTRY(VB_IOC_REGION_ADD, vb_ioc_region, vb_region_add),
	EXEC_ENTRY(VB_IOC_REGION_REMOVE, vb_ioc_region, vb_region_remove),
	EXEC_ENTRY(VB_IOC_MOVE, vb_ioc_move, vb_move),
	EXEC_ENTRY(VB_IOC_FETCH, vb_ioc_fetch, vb_exec_fetch, RESERVED(vb_ioc_fetch),
		   FLAGS(vb_ioc_fetch, VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT)),
	EXEC_ENTRY(VB_IOC_COMMIT, vb_ioc_commit, vb_exec_commit),
	EXEC_ENTRY(VB_IOC_EXCHANGE, vb_ioc_exchange, vb_exec_exchange,
		   FLAGS(vb_ioc_exchange,
			 VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT | VB_EXCHANGE_F_STOP |
			 VB_EXCHANGE_F_HOLD_FILLS | VB_EXCHANGE_F_LET_FILLS)),
	EXEC_ENTRY(VB_IOC_POLL_CANCEL, vb_ioc_poll_cancel, vb_exec_poll_cancel),
	EXEC_ENTRY(VB_IOC_OBJECT_OPEN, vb_ioc_object_open, vb_exec_object_open),
	EXEC_ENTRY(VB_IOC_EXEC_STATS, vb_ioc_exec_stats, vb_exec_stats,
		   RESERVED(vb_ioc_exec_stats)),
	EXEC_ENTRY(VB_IOC_ARENA_QUERY, vb_ioc_arena_query, vb_arena_query,
		   RESERVED(vb_ioc_arena_query)),
	EXEC_ENTRY(VB_IOC_ARENA_ADOPT, vb_ioc_arena_adopt, vb_arena_adopt,
		   RESERVED(vb_ioc_arena_adopt), FLAGS(vb_ioc_arena_adopt, VB_ADOPT_FORCE)),
	EXEC_ENTRY(VB_IOC_REGION_NEXT, vb_ioc_region, vb_region_next),
	EXEC_ENTRY(VB_IOC_SLOT_QUERY, vb_ioc_slot_query, vb_slot_query,
		   RESERVED(vb_ioc_slot_query)),
	EXEC_ENTRY(VB_IOC_OBJECT_NEXT, vb_ioc_object_next, vb_object_next,
		   RESERVED(vb_ioc_object_next)),
	EXEC_ENTRY(VB_IOC_RECOVER, vb_ioc_recover, vb_recover, RESERVED(vb_ioc_recover),
		   FLAGS(vb_ioc_recover, VB_RECOVER_DISCARD)),
};

static_assert(sizeof(struct vb_ioc_object_open) <= VB_UCMD_BYTES_MAX);

static int check_fields(const struct rule *rule, const u8 *cmd)
{
	u32 flags;

	if (rule->reserved_bytes && memchr_inv(cmd + rule->reserved, 0, rule->reserved_bytes))
		return -EINVAL;
	if (!rule->flags_offset)
		return 0;
	memcpy(&flags, cmd + rule->flags_offset, sizeof(flags));
	return flags & ~rule->flags ? -EINVAL : 0;
}

static int ucmd_copy_in(struct vb_ucmd *u, const struct rule *rule)
{
	int rc;

	if (get_user(u->user_bytes, (u32 __user *)u->user))
		return -EFAULT;
	if (u->user_bytes < sizeof(u32))
		return -EINVAL;
	if (u->user_bytes > TAIL_MAX)
		return -E2BIG;
	u->bytes = rule->bytes;
	rc = copy_struct_from_user(u->cmd, rule->bytes, u->user, u->user_bytes);
	if (rc)
		return rc;
	/* The caller may have changed it in between. */
	*(u32 *)u->cmd = u->user_bytes;
	return check_fields(rule, u->cmd);
}

static int ucmd_copy_out(const struct vb_ucmd *u)
{
	return copy_to_user(u->user, u->cmd, min(u->user_bytes, u->bytes)) ? -EFAULT : 0;
}

/**
 * vb_ucmd_can_respond() - could the structure be written back
 * @u: request
 *
 * For what is not known before it is done, and cannot be undone then.
 *
 * Return: 0; -EFAULT.
 * Context: no lock held.
 */
int vb_ucmd_can_respond(const struct vb_ucmd *u)
{
	return ucmd_copy_out(u);
}

/**
 * vb_ucmd_respond() - write the structure back, as much of it as the caller knows
 * @u: request
 *
 * Return: 0; -EFAULT.  A second call does nothing.
 * Context: no lock held.
 */
int vb_ucmd_respond(struct vb_ucmd *u)
{
	if (u->responded)
		return 0;
	u->responded = true;
	return ucmd_copy_out(u);
}

/* Also after an error: what was done before it is said. */
static int ucmd_end(struct vb_ucmd *u, int rc)
{
	int fault = vb_ucmd_respond(u);

	return rc ? rc : fault;
}

/*
 * Deadlines are points in time, so that a request may be made again: after a signal
 * whose handler says so, or what io_uring has done in our task, which is no signal.
 */
static long ioctl_result(int rc)
{
	return rc == -EINTR ? -ERESTARTSYS : rc;
}

/*
 * The number alone names a request: the size that ioctl numbers carry is that of
 * the caller's structure, which begins with it anyway.
 */
static bool is_ours(unsigned int request)
{
	return _IOC_TYPE(request) == VB_IOC_MAGIC && _IOC_DIR(request) == (_IOC_READ | _IOC_WRITE);
}

/**
 * vb_ucmd_client() - one request of a client
 * @c: client
 * @request: ioctl number, of which only direction, type and number count
 * @user: the caller's structure
 * @cmd: VB_UCMD_BYTES_MAX bytes; keeps the structure with what was answered
 *
 * Context: no lock held; what the handler needs.
 * Return: what the handler says; -ENOTTY no such request; -EFAULT; -E2BIG the structure has a
 * tail that is not zero, or is too long; -EINVAL it is too short to say its size, has a flag
 * that we do not know, or something in what is reserved.
 */
int vb_ucmd_client(struct vb_client *c, unsigned int request, void __user *user, u64 *cmd)
{
	struct vb_ucmd u = { .cmd = cmd, .user = user };
	const struct client_entry *entry;
	u32 nr = _IOC_NR(request);
	int rc;

	if (!is_ours(request) || nr >= ARRAY_SIZE(client_table))
		return -ENOTTY;
	entry = &client_table[array_index_nospec(nr, ARRAY_SIZE(client_table))];
	if (!entry->call)
		return -ENOTTY;
	rc = ucmd_copy_in(&u, &entry->rule);
	if (rc)
		return rc;
	return ucmd_end(&u, entry->call(c, &u));
}

/**
 * vb_ioctl_client() - ioctl() of a client's node
 * @filp: node
 * @request: number
 * @arg: address of the caller's structure
 *
 * Context: no lock held.
 * Return: as vb_ucmd_client(); what a signal has ended may be made again (-ERESTARTSYS), as
 * deadlines are points in time.
 */
long vb_ioctl_client(struct file *filp, unsigned int request, unsigned long arg)
{
	u64 cmd[VB_UCMD_BYTES_MAX / sizeof(u64)];

	return ioctl_result(vb_ucmd_client(filp->private_data, request,
					   (void __user *)arg, cmd));
}

/* Until it has attached, the opener has no role. */
static long exec_call(struct vb_exec *x, const struct exec_entry *entry, struct vb_ucmd *u)
{
	int rc = vb_exec_begin(x);

	if (rc == -ESTALE || (rc && entry->call != vb_exec_attach))
		return rc;
	vb_exec_beat(x);
	rc = entry->call(x, u);
	vb_exec_beat(x);
	return ioctl_result(ucmd_end(u, rc));
}

/**
 * vb_ioctl_exec() - ioctl() of the executor's node; its call and its return are heartbeats
 * @filp: node
 * @request: number
 * @arg: address of the caller's structure
 *
 * Context: no lock held.
 * Return: as vb_ioctl_client(); -EPERM all but VB_IOC_EXEC_ATTACH, until that was made; -ESTALE
 * it was silent for too long.
 */
long vb_ioctl_exec(struct file *filp, unsigned int request, unsigned long arg)
{
	u64 cmd[VB_UCMD_BYTES_MAX / sizeof(u64)];
	struct vb_ucmd u = { .cmd = cmd, .user = (void __user *)arg };
	struct vb_exec *x = filp->private_data;
	const struct exec_entry *entry;
	u32 nr = _IOC_NR(request) - FIRST_EXEC_NR;
	int rc;

	if (!is_ours(request) || nr >= ARRAY_SIZE(exec_table))
		return -ENOTTY;
	entry = &exec_table[array_index_nospec(nr, ARRAY_SIZE(exec_table))];
	if (!entry->call)
		return -ENOTTY;
	rc = ucmd_copy_in(&u, &entry->rule);
	if (rc)
		return rc;
	rc = exec_call(x, entry, &u);
	vb_exec_end(x);
	return rc;
}
