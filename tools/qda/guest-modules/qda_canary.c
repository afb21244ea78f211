// SPDX-License-Identifier: GPL-2.0
/*
 * Mistakes on purpose, one for each thing that a debug kernel looks for. They
 * show that it does, and that whoever reads the kernel's log notices.
 *
 * Loading the module with kind=<name> makes the mistake of that name.
 */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#define SIZE	512
/* Comes from no cache. */
#define LARGE	(2 * KMALLOC_MAX_CACHE_SIZE)

static char *kind = "";
module_param(kind, charp, 0444);

static noinline int use_after_free(void)
{
	char *object = kzalloc(SIZE, GFP_KERNEL);

	if (!object)
		return -ENOMEM;
	kfree(object);
	return READ_ONCE(object[SIZE / 2]);
}

static noinline int leak(void)
{
	/*
	 * Where the last ones are, an old stack may still tell. Small ones come
	 * from arrays that go on telling long after: kmemleak reads those too.
	 */
	for (int i = 0; i < 16; i++) {
		if (!kzalloc(LARGE, GFP_KERNEL))
			return -ENOMEM;
	}
	return 0;
}

static noinline int sleep_in_atomic(void)
{
	static DEFINE_SPINLOCK(lock);
	void *object;

	/* This may wait for memory. */
	spin_lock(&lock);
	object = kzalloc(SIZE, GFP_KERNEL);
	spin_unlock(&lock);
	kfree(object);
	return 0;
}

static noinline int deadlock(void)
{
	static DEFINE_MUTEX(first);
	static DEFINE_MUTEX(second);

	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);

	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
	return 0;
}

static noinline int rcu(void)
{
	static int __rcu *pointer;

	/* Not in a read-side critical section. */
	return rcu_dereference(pointer) ? -EINVAL : 0;
}

static noinline int dma(void)
{
	struct platform_device *device = platform_device_register_simple("qda-canary", -1, NULL, 0);
	void *object = kzalloc(SIZE, GFP_KERNEL);
	dma_addr_t address;
	int ret = -ENOMEM;

	if (IS_ERR(device) || !object)
		goto out;
	ret = dma_coerce_mask_and_coherent(&device->dev, DMA_BIT_MASK(64));
	if (ret)
		goto out;
	address = dma_map_single(&device->dev, object, SIZE, DMA_TO_DEVICE);
	ret = dma_mapping_error(&device->dev, address);
	/* Not as much as was mapped. */
	if (!ret)
		dma_unmap_single(&device->dev, address, SIZE / 2, DMA_TO_DEVICE);
out:
	if (!IS_ERR(device))
		platform_device_unregister(device);
	kfree(object);
	return ret;
}

static noinline int shift(void)
{
	static int places = 40;

	return (1 << READ_ONCE(places)) == 0;
}

static const struct {
	const char *name;
	int (*make)(void);
} mistakes[] = {
	{ "use_after_free", use_after_free },
	{ "leak", leak },
	{ "sleep", sleep_in_atomic },
	{ "deadlock", deadlock },
	{ "rcu", rcu },
	{ "dma", dma },
	{ "shift", shift },
};

static int __init canary_init(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		if (!strcmp(kind, mistakes[i].name)) {
			mistakes[i].make();
			return 0;
		}
	}
	return -EINVAL;
}
module_init(canary_init);

static void __exit canary_exit(void)
{
}
module_exit(canary_exit);

MODULE_DESCRIPTION("Mistakes for a debug kernel to find");
MODULE_LICENSE("GPL");
