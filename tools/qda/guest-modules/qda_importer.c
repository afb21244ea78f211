// SPDX-License-Identifier: GPL-2.0
/*
 * A device that uses the dma-bufs of others: /dev/qda-importer maps one for as long as the file is
 * open. It does not see the caches of the CPU, and it is behind no IOMMU. It never accesses the
 * memory: tests look at what the exporter does for it.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* Takes the descriptor of a dma-buf. */
#define QDA_IMPORTER_MAP	_IOW('q', 0, __s32)

struct import {
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
};

static struct platform_device *importer;

static int importer_open(struct inode *inode, struct file *file)
{
	file->private_data = kzalloc_obj(struct import);
	return file->private_data ? 0 : -ENOMEM;
}

static int importer_map(struct import *import, int fd)
{
	struct dma_buf *buf;
	int ret;

	if (import->attachment)
		return -EBUSY;
	buf = dma_buf_get(fd);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	import->attachment = dma_buf_attach(buf, &importer->dev);
	if (IS_ERR(import->attachment)) {
		ret = PTR_ERR(import->attachment);
		goto put;
	}
	import->table = dma_buf_map_attachment_unlocked(import->attachment, DMA_BIDIRECTIONAL);
	if (!IS_ERR(import->table))
		return 0;
	ret = PTR_ERR(import->table);
	dma_buf_detach(buf, import->attachment);
put:
	import->attachment = NULL;
	dma_buf_put(buf);
	return ret;
}

static long importer_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	__s32 fd;

	if (cmd != QDA_IMPORTER_MAP)
		return -ENOTTY;
	if (get_user(fd, (__s32 __user *)arg))
		return -EFAULT;
	return importer_map(file->private_data, fd);
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct import *import = file->private_data;

	if (import->attachment) {
		struct dma_buf *buf = import->attachment->dmabuf;

		dma_buf_unmap_attachment_unlocked(import->attachment, import->table,
						  DMA_BIDIRECTIONAL);
		dma_buf_detach(buf, import->attachment);
		dma_buf_put(buf);
	}
	kfree(import);
	return 0;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.unlocked_ioctl = importer_ioctl,
	.release = importer_release,
};

static struct miscdevice node = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "qda-importer",
	.fops = &importer_fops,
};

static int __init importer_init(void)
{
	int ret;

	importer = platform_device_register_simple("qda-importer", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(importer))
		return PTR_ERR(importer);
	dma_set_max_seg_size(&importer->dev, UINT_MAX);
	ret = dma_coerce_mask_and_coherent(&importer->dev, DMA_BIT_MASK(64));
	if (!ret)
		ret = misc_register(&node);
	if (ret)
		platform_device_unregister(importer);
	return ret;
}
module_init(importer_init);

static void __exit importer_exit(void)
{
	misc_deregister(&node);
	platform_device_unregister(importer);
}
module_exit(importer_exit);

MODULE_DESCRIPTION("A device that maps the dma-bufs of others");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
