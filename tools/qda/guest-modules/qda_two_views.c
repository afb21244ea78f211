// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers of which the CPU sees one copy, and devices that are not coherent another one: what
 * caches do, on a machine that has none.
 *
 * /dev/dma_heap/two-views and /dev/dma_heap/two-views-no-sync take the ioctl of a dma-heap. They
 * are none: a heap can't be removed. Mappings of the CPU show the one copy, devices get the
 * addresses of the other. The copies are brought together where arm64 cleans or invalidates its
 * caches, and nowhere else:
 *
 *	mapping for a device	clean
 *	unmapping		invalidate, unless the direction is DMA_TO_DEVICE
 *	begin_cpu_access	invalidate, likewise, while the buffer is mapped for a device
 *	end_cpu_access		clean, while the buffer is mapped for a device
 *
 * Buffers of two-views-no-sync have neither begin_cpu_access nor end_cpu_access. For a coherent
 * device there is only the copy of the CPU.
 *
 * As with a cache, only the lines that the CPU has changed are cleaned, and what it has changed
 * since is lost when they are invalidated. At first all lines are dirty, and the memory below holds
 * what somebody else has left there.
 *
 * The directory two-views of debugfs counts calls of these operations, lines that were lost, and
 * the buffers, attachments and mappings that there are. delay_ms is for how long each operation
 * but unmapping takes, delayed how many take their time now.
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <uapi/linux/dma-heap.h>

/* The granule of a cache. */
#define LINE	64

/* What is in memory of which nothing was cleaned. */
#define STALE	0xdb

/**
 * struct views - a buffer
 * @lock: held by each operation
 * @attachments: of devices
 * @size: bytes, whole pages
 * @cpu: what the CPU sees
 * @device: what devices see
 * @synced: what both saw last; where @cpu differs, the line is dirty
 */
struct views {
	struct mutex lock; /* for what follows */
	struct list_head attachments;
	size_t size;
	u8 *cpu;
	u8 *device;
	u8 *synced;
};

struct view_attachment {
	struct list_head entry;
	struct device *dev;
	struct sg_table table;
	bool coherent;
	unsigned int mapped;
};

static atomic_t maps, unmaps, begins, ends, lost, buffers, attachments, mappings, delayed;
static u32 delay_ms;

static const struct {
	const char *name;
	atomic_t *value;
} counters[] = {
	{ "maps", &maps },
	{ "unmaps", &unmaps },
	{ "begins", &begins },
	{ "ends", &ends },
	{ "lost", &lost },
	{ "buffers", &buffers },
	{ "attachments", &attachments },
	{ "mappings", &mappings },
	{ "delayed", &delayed },
};

static struct dentry *directory;

static void take_time(void)
{
	u32 ms = READ_ONCE(delay_ms);

	if (!ms)
		return;
	atomic_inc(&delayed);
	msleep(ms);
	atomic_dec(&delayed);
}

static void clean(struct views *views)
{
	lockdep_assert_held(&views->lock);
	for (size_t at = 0; at < views->size; at += LINE) {
		if (!memcmp(views->cpu + at, views->synced + at, LINE))
			continue;
		/* The CPU may go on writing: both get the same. */
		memcpy(views->synced + at, views->cpu + at, LINE);
		memcpy(views->device + at, views->synced + at, LINE);
	}
}

static void invalidate(struct views *views)
{
	lockdep_assert_held(&views->lock);
	for (size_t at = 0; at < views->size; at += LINE) {
		if (memcmp(views->cpu + at, views->synced + at, LINE))
			atomic_inc(&lost);
		else if (!memcmp(views->device + at, views->synced + at, LINE))
			continue;
		memcpy(views->synced + at, views->device + at, LINE);
		memcpy(views->cpu + at, views->synced + at, LINE);
	}
}

/* Whether a device has it mapped that does not see the caches. */
static bool is_shared(struct views *views)
{
	struct view_attachment *attachment;

	lockdep_assert_held(&views->lock);
	list_for_each_entry(attachment, &views->attachments, entry) {
		if (attachment->mapped && !attachment->coherent)
			return true;
	}
	return false;
}

static int fill_table(struct sg_table *table, const u8 *memory, size_t size)
{
	size_t count = size / PAGE_SIZE;
	struct page **pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	int ret;

	if (!pages)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		pages[i] = vmalloc_to_page(memory + i * PAGE_SIZE);
	ret = sg_alloc_table_from_pages(table, pages, count, 0, size, GFP_KERNEL);
	kvfree(pages);
	return ret;
}

static int views_attach(struct dma_buf *buf, struct dma_buf_attachment *to)
{
	struct views *views = buf->priv;
	struct view_attachment *attachment = kzalloc_obj(*attachment);
	int ret;

	if (!attachment)
		return -ENOMEM;
	attachment->dev = to->dev;
	attachment->coherent = dev_is_dma_coherent(to->dev);
	ret = fill_table(&attachment->table, attachment->coherent ? views->cpu : views->device,
			 views->size);
	if (ret) {
		kfree(attachment);
		return ret;
	}
	to->priv = attachment;
	mutex_lock(&views->lock);
	list_add(&attachment->entry, &views->attachments);
	mutex_unlock(&views->lock);
	atomic_inc(&attachments);
	return 0;
}

static void views_detach(struct dma_buf *buf, struct dma_buf_attachment *from)
{
	struct views *views = buf->priv;
	struct view_attachment *attachment = from->priv;

	mutex_lock(&views->lock);
	list_del(&attachment->entry);
	mutex_unlock(&views->lock);
	WARN_ON(attachment->mapped);
	sg_free_table(&attachment->table);
	kfree(attachment);
	atomic_dec(&attachments);
}

static struct sg_table *views_map(struct dma_buf_attachment *to, enum dma_data_direction direction)
{
	struct views *views = to->dmabuf->priv;
	struct view_attachment *attachment = to->priv;
	int ret;

	take_time();
	mutex_lock(&views->lock);
	ret = dma_map_sgtable(attachment->dev, &attachment->table, direction, 0);
	if (!ret) {
		if (!attachment->coherent)
			clean(views);
		attachment->mapped++;
		atomic_inc(&maps);
		atomic_inc(&mappings);
	}
	mutex_unlock(&views->lock);
	return ret ? ERR_PTR(ret) : &attachment->table;
}

static void views_unmap(struct dma_buf_attachment *from, struct sg_table *table,
			enum dma_data_direction direction)
{
	struct views *views = from->dmabuf->priv;
	struct view_attachment *attachment = from->priv;

	mutex_lock(&views->lock);
	dma_unmap_sgtable(attachment->dev, table, direction, 0);
	if (!attachment->coherent && direction != DMA_TO_DEVICE)
		invalidate(views);
	attachment->mapped--;
	atomic_inc(&unmaps);
	atomic_dec(&mappings);
	mutex_unlock(&views->lock);
}

static int views_begin(struct dma_buf *buf, enum dma_data_direction direction)
{
	struct views *views = buf->priv;

	take_time();
	mutex_lock(&views->lock);
	if (direction != DMA_TO_DEVICE && is_shared(views))
		invalidate(views);
	atomic_inc(&begins);
	mutex_unlock(&views->lock);
	return 0;
}

static int views_end(struct dma_buf *buf, enum dma_data_direction direction)
{
	struct views *views = buf->priv;

	take_time();
	mutex_lock(&views->lock);
	if (is_shared(views))
		clean(views);
	atomic_inc(&ends);
	mutex_unlock(&views->lock);
	return 0;
}

static int views_mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	struct views *views = buf->priv;

	return remap_vmalloc_range(vma, views->cpu, vma->vm_pgoff);
}

static int views_vmap(struct dma_buf *buf, struct iosys_map *map)
{
	struct views *views = buf->priv;

	iosys_map_set_vaddr(map, views->cpu);
	return 0;
}

static void views_free(struct views *views)
{
	vfree(views->cpu);
	vfree(views->device);
	vfree(views->synced);
	kfree(views);
}

static void views_release(struct dma_buf *buf)
{
	views_free(buf->priv);
	atomic_dec(&buffers);
}

static const struct dma_buf_ops views_ops = {
	.attach = views_attach,
	.detach = views_detach,
	.map_dma_buf = views_map,
	.unmap_dma_buf = views_unmap,
	.begin_cpu_access = views_begin,
	.end_cpu_access = views_end,
	.mmap = views_mmap,
	.vmap = views_vmap,
	.release = views_release,
};

static const struct dma_buf_ops no_sync_ops = {
	.attach = views_attach,
	.detach = views_detach,
	.map_dma_buf = views_map,
	.unmap_dma_buf = views_unmap,
	.mmap = views_mmap,
	.vmap = views_vmap,
	.release = views_release,
};

static struct views *views_new(size_t size)
{
	struct views *views;

	if (!size || size / PAGE_SIZE > totalram_pages())
		return ERR_PTR(-ENOMEM);
	views = kzalloc_obj(*views);
	if (!views)
		return ERR_PTR(-ENOMEM);
	mutex_init(&views->lock);
	INIT_LIST_HEAD(&views->attachments);
	views->size = size;
	views->cpu = vmalloc_user(size);
	views->device = vmalloc(size);
	views->synced = vmalloc(size);
	if (!views->cpu || !views->device || !views->synced) {
		views_free(views);
		return ERR_PTR(-ENOMEM);
	}
	memset(views->device, STALE, size);
	memset(views->synced, STALE, size);
	return views;
}

static struct dma_buf *export(const char *name, const struct dma_buf_ops *ops, size_t size,
			      u32 flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct views *views = views_new(size);
	struct dma_buf *buf;

	if (IS_ERR(views))
		return ERR_CAST(views);
	info.exp_name = name;
	info.ops = ops;
	info.size = size;
	info.flags = flags;
	info.priv = views;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf))
		views_free(views);
	else
		atomic_inc(&buffers);
	return buf;
}

static struct miscdevice devices[2];

static long views_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct miscdevice *device = file->private_data;
	struct dma_heap_allocation_data __user *user = (void __user *)arg;
	struct dma_heap_allocation_data data;
	struct dma_buf *buf;
	int fd;

	if (cmd != DMA_HEAP_IOCTL_ALLOC)
		return -ENOTTY;
	if (copy_from_user(&data, user, sizeof(data)))
		return -EFAULT;
	if (data.fd || data.heap_flags || data.fd_flags & ~DMA_HEAP_VALID_FD_FLAGS)
		return -EINVAL;
	buf = export(device->name, device == devices ? &views_ops : &no_sync_ops,
		     PAGE_ALIGN(data.len), data.fd_flags);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	fd = get_unused_fd_flags(data.fd_flags & O_CLOEXEC);
	if (fd < 0) {
		dma_buf_put(buf);
		return fd;
	}
	data.fd = fd;
	if (copy_to_user(user, &data, sizeof(data))) {
		put_unused_fd(fd);
		dma_buf_put(buf);
		return -EFAULT;
	}
	fd_install(fd, buf->file);
	return 0;
}

static const struct file_operations views_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = views_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice devices[2] = {
	{
		.minor = MISC_DYNAMIC_MINOR,
		.name = "two-views",
		.nodename = "dma_heap/two-views",
		.fops = &views_fops,
	}, {
		.minor = MISC_DYNAMIC_MINOR,
		.name = "two-views-no-sync",
		.nodename = "dma_heap/two-views-no-sync",
		.fops = &views_fops,
	},
};

static int __init two_views_init(void)
{
	int ret = misc_register(&devices[0]);

	if (ret)
		return ret;
	ret = misc_register(&devices[1]);
	if (ret) {
		misc_deregister(&devices[0]);
		return ret;
	}
	directory = debugfs_create_dir("two-views", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		debugfs_create_atomic_t(counters[i].name, 0444, directory, counters[i].value);
	debugfs_create_u32("delay_ms", 0644, directory, &delay_ms);
	return 0;
}
module_init(two_views_init);

static void __exit two_views_exit(void)
{
	debugfs_remove(directory);
	misc_deregister(&devices[1]);
	misc_deregister(&devices[0]);
}
module_exit(two_views_exit);

MODULE_DESCRIPTION("Buffers that the CPU and devices see differently");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
