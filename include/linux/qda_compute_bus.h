/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_QDA_COMPUTE_BUS_H
#define _LINUX_QDA_COMPUTE_BUS_H

#include <linux/device.h>
#include <linux/device/bus.h>
#include <linux/types.h>

struct fwnode_handle;

#ifdef CONFIG_DRM_ACCEL_QDA_COMPUTE_BUS
extern const struct bus_type qda_compute_bus_type;

struct device *qda_compute_bank_create(struct device *parent,
				       struct fwnode_handle *fwnode,
				       const char *name, u64 dma_mask);
int qda_compute_bank_assign_region(struct device *dev,
				   struct fwnode_handle *fwnode);
void qda_compute_bank_destroy(struct device *dev);
bool qda_compute_bank_is_translated(struct device *dev);
bool qda_compute_bank_is_coherent(struct device *dev);
bool qda_compute_bank_is_bounced(struct device *dev, dma_addr_t addr);

static inline bool dev_is_qda_compute_bank(const struct device *dev)
{
	return dev->bus == &qda_compute_bus_type;
}
#else
static inline bool dev_is_qda_compute_bank(const struct device *dev)
{
	return false;
}
#endif

#endif /* _LINUX_QDA_COMPUTE_BUS_H */
