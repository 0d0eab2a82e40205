// SPDX-License-Identifier: GPL-2.0
/*
 * Stores: objects whose content comes from a file, of which there is one for all who ask
 * for the same bytes of the same file, made in the same way.
 *
 * Who asks brings a descriptor that can be read, so nobody gets what it could not have read
 * by itself; and as a store is sealed from its beginning, nobody can change what others
 * read.  Each request makes a handle of its own.  A client that has handles of a store
 * shares it; what it pins and maps counts against its own limits, and nobody undoes the
 * pins of another, nor evicts what another uses.
 *
 * A store is charged to one of those who share it: to who came first, until that one
 * leaves or has reached its maximum, then to another.
 */
#include "store.h"

#include <linux/hashtable.h>
#include <linux/once.h>
#include <linux/random.h>
#include <linux/siphash.h>
#include <linux/slab.h>

#include "core/range.h"
#include "bo.h"
#include "client.h"
#include "limit.h"
#include "resid.h"
#include "table.h"
#include "user.h"

#define SHARES_LOOKED_AT	64u	/* for one who can pay */
/* A share, and its place among its client's */
#define SHARE_COST		(sizeof(struct vb_share) + sizeof(struct xa_node))

/**
 * struct vb_share - a client that has handles of a store
 * @link: in vb_bo.shares; the store's lock
 * @bo: the store; fixed
 * @client: whose it is, in whose vb_client.shares it stands; fixed
 * @handles: how many; the client's lock
 * @pins: how often it has pinned a chunk; the store's lock
 */
struct vb_share {
	struct list_head link;
	struct vb_bo *bo;
	struct vb_client *client;
	u32 handles;
	struct xarray pins;
};

static DEFINE_MUTEX(stores_lock);
static DEFINE_HASHTABLE(stores, 12);	/* struct vb_bo; stores_lock */

/* ---- which ---- */

/* What makes two objects the same, without holes; files that look the same are one. */
struct store_key {
	u64 file, file_offset, file_bytes, bytes;
	struct vb_transform transform;
	u32 kind, head_bytes;
};

static_assert(sizeof(struct store_key) == 4 * sizeof(u64) + sizeof(struct vb_transform) +
	      2 * sizeof(u32));

/* Clients choose it: none may know what makes many stand in one place, where others look too. */
static u32 key_of(const struct vb_bo *bo)
{
	static siphash_key_t secret __read_mostly;
	const struct store_key key = {
		.file = (uintptr_t)bo->file, .file_offset = bo->file_offset,
		.file_bytes = bo->file_bytes, .bytes = bo->bytes, .transform = bo->transform,
		.kind = bo->traits.kind, .head_bytes = bo->head_bytes,
	};

	get_random_once(&secret, sizeof(secret));
	return siphash(&key, sizeof(key), &secret);
}

static bool is_same(const struct vb_bo *a, const struct vb_bo *b)
{
	return a->file == b->file && a->traits.kind == b->traits.kind && a->bytes == b->bytes &&
	       a->file_offset == b->file_offset && a->head_bytes == b->head_bytes &&
	       a->file_bytes == b->file_bytes &&
	       !memcmp(&a->transform, &b->transform, sizeof(a->transform));
}

/* The caller becomes a user of it.  One that is about to be forgotten is none. */
static struct vb_bo *find_locked(const struct vb_bo *like)
{
	struct vb_bo *bo;

	lockdep_assert_held(&stores_lock);
	hash_for_each_possible(stores, bo, store, key_of(like))
		if (is_same(bo, like) && refcount_inc_not_zero(&bo->users))
			return bo;
	return NULL;
}

/**
 * vb_store_find() - the store that is like a new object, or the object becomes one
 * @bo: new, of a file, with an id that is not published; used up when there is one already
 *
 * Context: may sleep; no lock held.
 * Return: the store, of which the caller is a user.
 */
struct vb_bo *vb_store_find(struct vb_bo *bo)
{
	struct vb_bo *other;

	mutex_lock(&stores_lock);
	other = find_locked(bo);
	if (!other) {
		hash_add(stores, &bo->store, key_of(bo));
		vb_bo_publish(bo);
	}
	mutex_unlock(&stores_lock);
	return other ? other : bo;
}

/**
 * vb_store_end() - nobody uses a store any more: who asks for the same makes it anew
 * @bo: store
 *
 * Context: may sleep; no lock held.
 */
void vb_store_end(struct vb_bo *bo)
{
	mutex_lock(&stores_lock);
	hash_del(&bo->store);
	mutex_unlock(&stores_lock);
}

/* ---- who ---- */

static struct vb_share *share_new(struct vb_client *c, struct vb_bo *bo)
{
	struct vb_share *s;
	int rc;

	rc = vb_user_charge(c->user, SHARE_COST);
	if (rc)
		return ERR_PTR(rc);
	s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	if (!s) {
		vb_user_uncharge(c->user, SHARE_COST);
		return ERR_PTR(-ENOMEM);
	}
	s->bo = bo;
	s->client = c;
	s->handles = 1;
	xa_init_flags(&s->pins, XA_FLAGS_ACCOUNT);
	return s;
}

static void share_free(struct vb_share *s)
{
	vb_user_uncharge(s->client->user, SHARE_COST);
	xa_destroy(&s->pins);
	kfree(s);
}

/* Who paid has left between our finding the store and now, when nobody shared it: we pay. */
static struct vb_client *charge_first_locked(struct vb_client *c, struct vb_bo *bo)
{
	struct vb_client *paid = bo->client;

	if (!list_empty(&bo->shares) || paid == c)
		return NULL;
	kref_get(&c->kref);
	vb_resid_charge(bo, c);
	return paid;
}

static int share_add_locked(struct vb_client *c, struct vb_bo *bo, struct vb_share *new)
{
	struct vb_client *paid;
	int rc;

	lockdep_assert_held(&c->lock);
	rc = xa_insert(&c->shares, bo->id, new, GFP_KERNEL_ACCOUNT);
	if (rc)
		return rc;
	mutex_lock(&bo->lock);
	paid = charge_first_locked(c, bo);
	list_add_tail(&new->link, &bo->shares);
	mutex_unlock(&bo->lock);
	if (paid)
		vb_client_put(paid);
	return 0;
}

/**
 * vb_store_join() - a client gets a handle of a store
 * @c: client
 * @bo: store, of which the caller is a user
 *
 * Context: may sleep; takes the client's lock.
 * Return: 0, to be undone by vb_store_leave(); -EDQUOT; -ENOMEM.
 */
int vb_store_join(struct vb_client *c, struct vb_bo *bo)
{
	struct vb_share *s, *new = share_new(c, bo);
	int rc = 0;

	if (IS_ERR(new))
		return PTR_ERR(new);
	mutex_lock(&c->lock);
	s = xa_load(&c->shares, bo->id);
	if (s)
		s->handles++;
	else
		rc = share_add_locked(c, bo, new);
	mutex_unlock(&c->lock);
	if (s || rc)
		share_free(new);
	return rc;
}

static u64 unpin_all_locked(struct vb_bo *bo, struct vb_share *s)
{
	unsigned long chunk, n;
	u64 pins = 0;
	void *count;

	lockdep_assert_held(&bo->lock);
	xa_for_each(&s->pins, chunk, count)
		for (n = xa_to_value(count); n; n--, pins++)
			vb_step_unpin(bo, chunk);
	return pins;
}

/* Who has paid and leaves is followed by whoever has shared it longest. */
static struct vb_client *leave_locked(struct vb_bo *bo, struct vb_share *s)
{
	struct vb_share *next;

	list_del(&s->link);
	next = list_first_entry_or_null(&bo->shares, struct vb_share, link);
	if (bo->client != s->client || !next)
		return NULL;
	kref_get(&next->client->kref);
	vb_resid_charge(bo, next->client);
	return s->client;
}

static void share_end(struct vb_client *c, struct vb_bo *bo, struct vb_share *s)
{
	struct vb_client *paid;
	u64 pins;

	mutex_lock(&bo->lock);
	pins = unpin_all_locked(bo, s);
	paid = leave_locked(bo, s);
	mutex_unlock(&bo->lock);
	vb_limit_release(c, pins, true);
	if (paid)
		vb_client_put(paid);
	share_free(s);
}

/**
 * vb_store_leave() - a handle of a store goes
 * @c: client that had it
 * @bo: store, of which the caller is a user
 *
 * With the last one go the client's pins, and it pays no longer.
 *
 * Context: may sleep; takes the client's lock.
 */
void vb_store_leave(struct vb_client *c, struct vb_bo *bo)
{
	struct vb_share *s;

	mutex_lock(&c->lock);
	s = xa_load(&c->shares, bo->id);
	if (--s->handles)
		s = NULL;
	else
		xa_erase(&c->shares, bo->id);
	mutex_unlock(&c->lock);
	if (s)
		share_end(c, bo, s);
}

/**
 * vb_store_is_shared() - has anybody else a handle of it
 * @bo: object, of which the caller is a user
 *
 * Context: takes the object's lock.
 * Return: true of stores only, with handles of at least two clients.
 */
bool vb_store_is_shared(struct vb_bo *bo)
{
	bool shared;

	mutex_lock(&bo->lock);
	shared = bo->is_store && !list_empty(&bo->shares) && !list_is_singular(&bo->shares);
	mutex_unlock(&bo->lock);
	return shared;
}

/* ---- who pays ---- */

/**
 * vb_store_charge_other_locked() - somebody is to pay whose maxima allow it
 * @bo: object whose lock is held, at the maximum of who pays
 * @tier: where it is to get a slot more; its table may get a page more
 *
 * Return: is there one, who pays from now on?
 */
bool vb_store_charge_other_locked(struct vb_bo *bo, u32 tier)
{
	struct vb_client *old = bo->client;
	struct vb_share *s;
	u32 looked = 0;

	lockdep_assert_held(&bo->lock);
	if (!bo->is_store)
		return false;
	list_for_each_entry(s, &bo->shares, link) {
		if (looked++ == SHARES_LOOKED_AT)
			break;
		if (s->client == old ||
		    !vb_limit_has_room(s->client, tier, bo->tier_chunks[tier] + 1) ||
		    !vb_user_has_room(s->client->user, bo->kernel_bytes + VB_TABLE_PAGE_COST))
			continue;
		kref_get(&s->client->kref);
		vb_resid_charge(bo, s->client);
		vb_client_put(old);
		return true;
	}
	return false;
}

/**
 * vb_bo_payer() - who an object is charged to at this moment
 * @bo: object, of which the caller is a user
 *
 * Return: the client, counted.
 */
struct vb_client *vb_bo_payer(struct vb_bo *bo)
{
	struct vb_client *c;

	mutex_lock(&bo->lock);
	c = bo->client;
	kref_get(&c->kref);
	mutex_unlock(&bo->lock);
	return c;
}

/* ---- pins ---- */

/* Takes no memory: for a first pin there is a place. */
static int pin_count_locked(struct vb_share *s, u32 chunk, int n)
{
	unsigned long count = xa_to_value(xa_load(&s->pins, chunk) ? : xa_mk_value(0));

	if (n < 0 && !count)
		return -EINVAL;
	if (count + n == 0) {
		xa_erase(&s->pins, chunk);
		return 0;
	}
	return xa_err(xa_store(&s->pins, chunk, xa_mk_value(count + n), GFP_KERNEL_ACCOUNT));
}

/**
 * vb_store_pin() - a client pins a chunk of a store, or did and does no longer
 * @c: client
 * @bo: store, of which the caller is a user
 * @chunk: which
 * @n: 1 or -1
 *
 * What is counted here is undone when the client's last handle goes.  Memory for it is had
 * before the store's lock is taken: one whose memory is short keeps waiting nobody else.
 *
 * Context: may sleep; takes the client's lock and the store's.
 * Return: 0; -EINVAL the client has not pinned it; -ENOENT it has no handle any more;
 * -ENOMEM.
 */
int vb_store_pin(struct vb_client *c, struct vb_bo *bo, u32 chunk, int n)
{
	struct vb_share *s;
	int rc = -ENOENT;

	mutex_lock(&c->lock);
	s = xa_load(&c->shares, bo->id);
	if (s)
		rc = n > 0 ? xa_reserve(&s->pins, chunk, GFP_KERNEL_ACCOUNT) : 0;
	if (!rc) {
		mutex_lock(&bo->lock);
		rc = pin_count_locked(s, chunk, n);
		mutex_unlock(&bo->lock);
	}
	mutex_unlock(&c->lock);
	return rc;
}

/**
 * vb_store_unpin_locked() - a client takes back its pins of all these chunks of a store
 * @c: client
 * @bo: store, of which the caller is a user
 * @range: chunks
 *
 * Context: the client's lock and the store's.
 * Return: false when it has not pinned one of them; then nothing was done.
 */
bool vb_store_unpin_locked(struct vb_client *c, struct vb_bo *bo,
			   const struct vb_chunk_range *range)
{
	struct vb_share *s = xa_load(&c->shares, bo->id);
	u32 chunk;

	lockdep_assert_held(&c->lock);
	lockdep_assert_held(&bo->lock);
	for (chunk = range->first; chunk < range->end; chunk++)
		if (!s || !xa_load(&s->pins, chunk))
			return false;
	/* Cannot fail: their places in the array are there. */
	for (chunk = range->first; chunk < range->end; chunk++)
		pin_count_locked(s, chunk, -1);
	return true;
}

/* ---- for those who look ---- */

/**
 * vb_store_usage() - what a client has of stores
 * @c: client
 * @out_others: chunks with a current copy, a tier, of stores that others pay for
 * @out_shared: of all stores that others share
 *
 * Context: may sleep; takes the client's lock and those of its stores.
 */
void vb_store_usage(struct vb_client *c, u64 *out_others, u64 *out_shared)
{
	unsigned long id;
	struct vb_share *s;
	struct vb_bo *bo;
	u32 tier;

	mutex_lock(&c->lock);
	xa_for_each(&c->shares, id, s) {
		bo = s->bo;
		mutex_lock(&bo->lock);
		for (tier = 0; tier < VB_TIER_COUNT; tier++) {
			if (bo->client != c)
				out_others[tier] += bo->tier_chunks[tier];
			if (!list_is_singular(&bo->shares))
				out_shared[tier] += bo->tier_chunks[tier];
		}
		mutex_unlock(&bo->lock);
	}
	mutex_unlock(&c->lock);
}
