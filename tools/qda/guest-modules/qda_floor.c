// SPDX-License-Identifier: GPL-2.0
/*
 * The floor of a remote call, for measurements: an ioctl that sends what a
 * FastRPC driver sends, 40 bytes, and waits for what a DSP answers, 16 bytes,
 * over the same transport. It has no arguments, no memory that the other side
 * could touch, and no bookkeeping beyond finding the waiter. What a FastRPC
 * driver takes beyond this is its own.
 *
 * The floor of a buffer is its memory: pages that are allocated, zeroed and freed.
 * They are mapped nowhere, and belong to nobody.
 *
 * It also reads counters that user space has no good way to.
 *
 * Only for the guest of the benchmark: the channel is expected to stay.
 */
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rpmsg.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <trace/events/power.h>
#include <asm/sysreg.h>

#include "qda_floor.h"

#define SLOTS		256
#define REQUEST_LEN	40
#define REPLY_LEN	16

/* Instructions architecturally executed. */
#define EVENT_INST_RETIRED	0x08

static struct {
	struct rpmsg_endpoint *ept;
	spinlock_t lock;
	DECLARE_BITMAP(used, SLOTS);
	struct completion done[SLOTS];
} floor;

static int floor_reply(struct rpmsg_device *rpdev, void *data, int len, void *priv, u32 src)
{
	u64 context;

	if (len < REPLY_LEN)
		return -EINVAL;
	memcpy(&context, data, sizeof(context));
	if (context >= SLOTS)
		return -ENOENT;
	complete(&floor.done[context]);
	return 0;
}

static int floor_call(void)
{
	u64 request[REQUEST_LEN / 8] = { };
	unsigned long slot;
	int ret;

	spin_lock_irq(&floor.lock);
	slot = find_first_zero_bit(floor.used, SLOTS);
	if (slot < SLOTS)
		__set_bit(slot, floor.used);
	spin_unlock_irq(&floor.lock);
	if (slot >= SLOTS)
		return -ENOSPC;

	reinit_completion(&floor.done[slot]);
	request[1] = slot;
	ret = rpmsg_send(floor.ept, request, sizeof(request));
	if (!ret)
		ret = wait_for_completion_interruptible(&floor.done[slot]);
	/* A slot whose answer may still come is not used again. */
	if (ret == -ERESTARTSYS)
		return -EINTR;

	spin_lock_irq(&floor.lock);
	__clear_bit(slot, floor.used);
	spin_unlock_irq(&floor.lock);
	return ret;
}

/*
 * The time that CPUs are idle. The kernel's own accounts count ticks, which a
 * sleep of less than one does not come to.
 */
struct sleep {
	u64 since;
	u64 sum;
};

static DEFINE_PER_CPU(struct sleep, sleeps);
static bool watched;

static void floor_cpu_idle(void *data, unsigned int state, unsigned int cpu)
{
	struct sleep *sleep = this_cpu_ptr(&sleeps);

	if (state != PWR_EVENT_EXIT)
		WRITE_ONCE(sleep->since, ktime_get_ns());
	else if (sleep->since) {
		WRITE_ONCE(sleep->sum, sleep->sum + ktime_get_ns() - sleep->since);
		WRITE_ONCE(sleep->since, 0);
	}
}

static DEFINE_MUTEX(watch);

static int floor_idle(u64 *idle)
{
	int cpu, ret = 0;

	mutex_lock(&watch);
	if (!watched) {
		ret = register_trace_cpu_idle(floor_cpu_idle, NULL);
		watched = !ret;
	}
	mutex_unlock(&watch);
	if (ret)
		return ret;

	*idle = 0;
	for_each_online_cpu(cpu) {
		struct sleep *sleep = per_cpu_ptr(&sleeps, cpu);
		u64 since = READ_ONCE(sleep->since);

		*idle += READ_ONCE(sleep->sum);
		if (since)
			*idle += ktime_get_ns() - since;
	}
	do_div(*idle, NSEC_PER_USEC);
	return 0;
}

/* One CPU is what -icount makes sense with; the counter is that of this one. */
static int floor_instructions(u32 *count)
{
	if (!(read_sysreg(pmceid0_el0) & BIT(EVENT_INST_RETIRED)))
		return -EOPNOTSUPP;
	if (!(read_sysreg(pmcntenset_el0) & 1)) {
		write_sysreg(EVENT_INST_RETIRED, pmevtyper0_el0);
		write_sysreg(1, pmcntenset_el0);
		write_sysreg(read_sysreg(pmcr_el0) | 1, pmcr_el0);
		isb();
	}
	*count = read_sysreg(pmevcntr0_el0);
	return 0;
}

/* Pages of all sizes; each knows its own. */
static LIST_HEAD(memory);
static DEFINE_MUTEX(memory_lock);

static void floor_free(void)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &memory, lru) {
		list_del(&page->lru);
		__free_pages(page, compound_order(page));
	}
}

static int floor_alloc(u64 bytes)
{
	unsigned int order = get_order(SZ_2M);
	u64 left = DIV_ROUND_UP_ULL(bytes, PAGE_SIZE);

	if (!list_empty(&memory))
		return -EBUSY;
	while (left) {
		gfp_t flags = GFP_HIGHUSER | __GFP_ZERO;
		struct page *page;

		order = min_t(unsigned int, order, ilog2(left));
		if (order)
			flags |= __GFP_COMP | __GFP_NOWARN | __GFP_NORETRY;
		page = alloc_pages(flags, order);
		if (page) {
			list_add(&page->lru, &memory);
			left -= 1ULL << order;
		} else if (order) {
			order--;
		} else {
			floor_free();
			return -ENOMEM;
		}
	}
	return 0;
}

static long floor_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct qda_floor_count count;
	u64 idle, bytes;
	int ret;

	switch (cmd) {
	case QDA_FLOOR_CALL:
		return floor_call();
	case QDA_FLOOR_IDLE:
		ret = floor_idle(&idle);
		return ret ? ret : put_user(idle, (u64 __user *)arg);
	case QDA_FLOOR_COUNT:
		ret = floor_instructions(&count.instructions);
		if (ret)
			return ret;
		count.ticks = (u32)jiffies;
		return copy_to_user((void __user *)arg, &count, sizeof(count)) ? -EFAULT : 0;
	case QDA_FLOOR_ALLOC:
		if (get_user(bytes, (u64 __user *)arg))
			return -EFAULT;
		mutex_lock(&memory_lock);
		ret = floor_alloc(bytes);
		mutex_unlock(&memory_lock);
		return ret;
	case QDA_FLOOR_FREE:
		mutex_lock(&memory_lock);
		floor_free();
		mutex_unlock(&memory_lock);
		return 0;
	default:
		return -ENOTTY;
	}
}

static const struct file_operations floor_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = floor_ioctl,
};

static struct miscdevice floor_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "qda_floor",
	.fops = &floor_fops,
};

static int floor_probe(struct rpmsg_device *rpdev)
{
	floor.ept = rpdev->ept;
	return misc_register(&floor_misc);
}

static void floor_remove(struct rpmsg_device *rpdev)
{
	misc_deregister(&floor_misc);
}

static const struct rpmsg_device_id floor_ids[] = {
	{ .name = "qda-floor" },
	{ }
};
MODULE_DEVICE_TABLE(rpmsg, floor_ids);

static struct rpmsg_driver floor_driver = {
	.drv.name = "qda_floor",
	.drv.suppress_bind_attrs = true,
	.id_table = floor_ids,
	.probe = floor_probe,
	.remove = floor_remove,
	.callback = floor_reply,
};

static int __init floor_init(void)
{
	spin_lock_init(&floor.lock);
	for (int i = 0; i < SLOTS; i++)
		init_completion(&floor.done[i]);
	return register_rpmsg_driver(&floor_driver);
}
module_init(floor_init);

static void __exit floor_exit(void)
{
	unregister_rpmsg_driver(&floor_driver);
	floor_free();
	if (watched) {
		unregister_trace_cpu_idle(floor_cpu_idle, NULL);
		tracepoint_synchronize_unregister();
	}
}
module_exit(floor_exit);

MODULE_DESCRIPTION("Smallest call over rpmsg, to measure FastRPC drivers against");
MODULE_LICENSE("GPL");
