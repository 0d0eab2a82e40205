// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/class/misc/vblackwell: the device, its tiers, the limits that new clients and
 * users begin with.  Documentation/ABI/testing/sysfs-class-misc-vblackwell says what
 * each file means; the numbers are those of VB_IOC_QUERY_DEVICE and VB_IOC_QUERY_TIER.
 */
#include "show.h"

#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/overflow.h>
#include <linux/sysfs.h>

#include "core/quota.h"
#include "arena.h"
#include "recover.h"
#include "vb.h"

/**
 * vb_exec_state_name() - a state of the executor, for people and tools
 * @state: enum vb_exec_state
 *
 * Context: any.
 * Return: one lower-case word, the same in sysfs, fdinfo and debugfs.
 */
const char *vb_exec_state_name(u32 state)
{
	static const char *const names[] = {
		[VB_EXEC_NONE] = "none", [VB_EXEC_LIVE] = "live",
		[VB_EXEC_QUIESCED] = "quiesced", [VB_EXEC_RECOVERING] = "recovering",
		[VB_EXEC_FAILED] = "failed",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

/* ---- the device ---- */

static ssize_t chunk_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", vb.chunk_bytes);
}
static DEVICE_ATTR_RO(chunk_bytes);

static ssize_t exec_state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", vb_exec_state_name(READ_ONCE(vb.exec_state)));
}
static DEVICE_ATTR_RO(exec_state);

static ssize_t generation_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(vb.generation));
}
static DEVICE_ATTR_RO(generation);

static ssize_t recovery_ms_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(vb_recovery_ms));
}
static DEVICE_ATTR_RO(recovery_ms);

static struct attribute *device_attrs[] = {
	&dev_attr_chunk_bytes.attr,
	&dev_attr_exec_state.attr,
	&dev_attr_generation.attr,
	&dev_attr_recovery_ms.attr,
	NULL
};

static const struct attribute_group device_group = { .attrs = device_attrs };

/* ---- limits that new clients and users begin with ---- */

/**
 * struct limit_attr - a file of limits/
 * @attr: first
 * @table: vb_device.client_limits or .user_limits
 * @limit: enum vb_limit, a maximum
 */
struct limit_attr {
	struct device_attribute attr;
	u64 *table;
	u32 limit;
};

static struct limit_attr *limit_of(struct device_attribute *attr)
{
	return container_of(attr, struct limit_attr, attr);
}

static ssize_t limit_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	const struct limit_attr *l = limit_of(attr);
	u64 value;

	spin_lock(&vb.slot_lock);
	value = l->table[l->limit];
	spin_unlock(&vb.slot_lock);
	if (value == VB_QUOTA_NONE)
		return sysfs_emit(buf, "none\n");
	return sysfs_emit(buf, "%llu\n", value);
}

static ssize_t limit_store(struct device *dev, struct device_attribute *attr, const char *buf,
			   size_t count)
{
	const struct limit_attr *l = limit_of(attr);
	u64 value = VB_QUOTA_NONE;
	int rc;

	if (!sysfs_streq(buf, "none")) {
		rc = kstrtou64(buf, 0, &value);
		if (rc)
			return rc;
	}
	spin_lock(&vb.slot_lock);
	l->table[l->limit] = value;
	spin_unlock(&vb.slot_lock);
	return count;
}

/* For everybody at once: it has no request that would change it for one. */
static ssize_t user_kernel_kib_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	u64 bytes = READ_ONCE(vb.user_kernel_bytes);

	if (bytes == VB_QUOTA_NONE)
		return sysfs_emit(buf, "none\n");
	return sysfs_emit(buf, "%llu\n", bytes >> 10);
}

static ssize_t user_kernel_kib_store(struct device *dev, struct device_attribute *attr,
				     const char *buf, size_t count)
{
	u64 kib, bytes = VB_QUOTA_NONE;
	int rc;

	if (!sysfs_streq(buf, "none")) {
		rc = kstrtou64(buf, 0, &kib);
		if (rc)
			return rc;
		if (check_mul_overflow(kib, (u64)1024, &bytes))
			return -ERANGE;
	}
	WRITE_ONCE(vb.user_kernel_bytes, bytes);
	return count;
}
static DEVICE_ATTR_RW(user_kernel_kib);

#define LIMIT(who, name, number)						\
	static struct limit_attr limit_##who##_##name = {			\
		.attr = __ATTR(who##_##name, 0644, limit_show, limit_store),	\
		.table = vb.who##_limits, .limit = number,			\
	}

LIMIT(client, host_max, VB_LIMIT_HOST_MAX);
LIMIT(client, device_max, VB_LIMIT_DEVICE_MAX);
LIMIT(client, bytes_max, VB_LIMIT_BYTES_MAX);
LIMIT(client, submissions, VB_LIMIT_SUBMISSIONS);
LIMIT(user, host_max, VB_LIMIT_HOST_MAX);
LIMIT(user, device_max, VB_LIMIT_DEVICE_MAX);
LIMIT(user, bytes_max, VB_LIMIT_BYTES_MAX);
LIMIT(user, submissions, VB_LIMIT_SUBMISSIONS);

static struct attribute *limit_attrs[] = {
	&limit_client_host_max.attr.attr,
	&limit_client_device_max.attr.attr,
	&limit_client_bytes_max.attr.attr,
	&limit_client_submissions.attr.attr,
	&limit_user_host_max.attr.attr,
	&limit_user_device_max.attr.attr,
	&limit_user_bytes_max.attr.attr,
	&limit_user_submissions.attr.attr,
	&dev_attr_user_kernel_kib.attr,
	NULL
};

static const struct attribute_group limit_group = { .name = "limits", .attrs = limit_attrs };

/* Of the client node's miscdevice. */
const struct attribute_group *vb_sysfs_groups[] = { &device_group, &limit_group, NULL };

/* ---- tiers ---- */

static struct kobject *tiers;
static struct kobject *tier_kobj[VB_TIER_COUNT];

/* Sums over the arenas of a tier, in slots. */
struct tier_sum {
	u64 present, used, pinned;
};

static struct tier_sum tier_sum(const struct kobject *kobj)
{
	struct tier_sum sum = { .present = 0 };
	u32 i;

	spin_lock(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++) {
		const struct vb_arena *a = vb.arenas[i];

		if (tier_kobj[a->tier] != kobj)
			continue;
		sum.present += a->slots.present;
		sum.used += a->slots.present - a->slots.free;
		sum.pinned += a->pinned;
	}
	spin_unlock(&vb.slot_lock);
	return sum;
}

static ssize_t bytes_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", tier_sum(kobj).present << vb.chunk_shift);
}

static ssize_t used_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", tier_sum(kobj).used << vb.chunk_shift);
}

static ssize_t pinned_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", tier_sum(kobj).pinned << vb.chunk_shift);
}

/* Host and NVMe together are promised once: on the host tier. */
static ssize_t reserved_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	u64 reserved;

	spin_lock(&vb.slot_lock);
	reserved = kobj == tier_kobj[VB_TIER_HOST] ? vb.reserved_bytes : 0;
	spin_unlock(&vb.slot_lock);
	return sysfs_emit(buf, "%llu\n", reserved);
}

static struct kobj_attribute tier_bytes = __ATTR_RO(bytes);
static struct kobj_attribute tier_used = __ATTR_RO(used);
static struct kobj_attribute tier_pinned = __ATTR_RO(pinned);
static struct kobj_attribute tier_reserved = __ATTR_RO(reserved);

static struct attribute *tier_attrs[] = {
	&tier_bytes.attr,
	&tier_used.attr,
	&tier_pinned.attr,
	&tier_reserved.attr,
	NULL
};

static const struct attribute_group tier_group = { .attrs = tier_attrs };

static int tier_add(u32 tier, const char *name)
{
	tier_kobj[tier] = kobject_create_and_add(name, tiers);
	return tier_kobj[tier] ? sysfs_create_group(tier_kobj[tier], &tier_group) : -ENOMEM;
}

/**
 * vb_sysfs_exit() - the folders go; also what an init that failed had made
 *
 * Context: module unload; before the node goes that they are below.
 */
void vb_sysfs_exit(void)
{
	u32 tier;

	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		kobject_put(tier_kobj[tier]);
	kobject_put(tiers);
}

/**
 * vb_sysfs_init() - the folders below a device
 * @dev: of the client node
 *
 * Return: 0, for vb_sysfs_exit(); -errno with nothing left.
 */
int vb_sysfs_init(struct device *dev)
{
	int rc;

	tiers = kobject_create_and_add("tiers", &dev->kobj);
	if (!tiers)
		return -ENOMEM;
	rc = tier_add(VB_TIER_HOST, "host");
	if (!rc)
		rc = tier_add(VB_TIER_DEVICE, "device");
	if (!rc)
		rc = tier_add(VB_TIER_NVME, "nvme");
	if (rc)
		vb_sysfs_exit();
	return rc;
}
