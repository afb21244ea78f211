// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bus of the context banks of Qualcomm compute DSPs
 *
 * A DSP reaches memory through context banks: streams of an IOMMU, each with a
 * node below that of the DSP. A bank is a device here, so that the IOMMU core
 * and the DMA API know it. The bus is built in since the IOMMU core lists it.
 *
 * The one driver of the bus does nothing but be bound: it keeps the IOMMU
 * domain from being taken away, and managed resources of a bank are released
 * while the bank still has its domain.
 */

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/of.h>
#include <linux/of_device.h>
#include <linux/of_reserved_mem.h>
#include <linux/property.h>
#include <linux/qda_compute_bus.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

/**
 * struct qda_compute_bank - a context bank
 * @dev: the device
 * @dma_parms: DMA parameters of @dev
 * @dma_mask: DMA mask of @dev, which the platform may narrow
 * @wanted_mask: what the DSP can address
 * @error: why the driver did not bind
 * @has_region: whether a reserved region of memory is assigned to @dev
 */
struct qda_compute_bank {
	struct device dev;
	struct device_dma_parameters dma_parms;
	u64 dma_mask;
	u64 wanted_mask;
	int error;
	bool has_region;
};

#define to_bank(d) container_of_const(d, struct qda_compute_bank, dev)

static int qda_compute_bus_dma_configure(struct device *dev)
{
	struct qda_compute_bank *bank = to_bank(dev);
	bool binding = READ_ONCE(dev->driver);
	int ret;

	ret = of_dma_configure(dev, dev->of_node, true);

	/* Without a driver it is the IOMMU core that asks. */
	if (!ret && binding) {
		ret = iommu_device_use_default_domain(dev);
		if (ret)
			arch_teardown_dma_ops(dev);
	}

	bank->error = ret;
	return ret;
}

static void qda_compute_bus_dma_cleanup(struct device *dev)
{
	iommu_device_unuse_default_domain(dev);
}

/*
 * A DSP runs what anybody gives it: each of its accesses is to be translated,
 * and none by what has been unmapped. The IOMMU core gives banks such a domain,
 * but not where another device is in the bank's group, or where the IOMMU's
 * driver decides.
 *
 * device_iommu_mapped() is true for an identity domain too, and
 * of_dma_configure() goes on without an IOMMU after an error. Both would give
 * the DSP all of the memory, at addresses that it is not able to use.
 */
static int qda_compute_bank_check_domain(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (!of_property_present(dev->of_node, "iommus"))
		return 0;

	if (!qda_compute_bank_is_translated(dev)) {
		dev_err(dev,
			"%pOF has no translating IOMMU domain: see what the IOMMU's driver says%s\n",
			dev->of_node,
			domain ? ", and try iommu.passthrough=0" : "");
		return -EINVAL;
	}

	if (domain->type != IOMMU_DOMAIN_DMA) {
		dev_err(dev,
			"%pOF has an IOMMU domain that is not strict: boot with iommu.strict=1\n",
			dev->of_node);
		return -EINVAL;
	}

	return 0;
}

static int qda_compute_bank_probe(struct device *dev)
{
	struct qda_compute_bank *bank = to_bank(dev);

	bank->error = qda_compute_bank_check_domain(dev);
	if (bank->error)
		return bank->error;

	bank->error = dma_set_mask_and_coherent(dev, bank->wanted_mask);
	if (bank->error) {
		dev_err(dev, "%pOF can't use DMA mask %#llx: %d\n", dev->of_node,
			bank->wanted_mask, bank->error);
		return bank->error;
	}

	/* One mapping is one range, whatever its length. */
	dma_set_max_seg_size(dev, UINT_MAX & PAGE_MASK);
	return 0;
}

const struct bus_type qda_compute_bus_type = {
	.name		= "qda-compute-bank",
	.dma_configure	= qda_compute_bus_dma_configure,
	.dma_cleanup	= qda_compute_bus_dma_cleanup,
};

static struct device_driver qda_compute_bank_driver = {
	.name			= "qda-compute-bank",
	.bus			= &qda_compute_bus_type,
	.probe			= qda_compute_bank_probe,
	.probe_type		= PROBE_FORCE_SYNCHRONOUS,
	.suppress_bind_attrs	= true,
};

static void qda_compute_bank_release(struct device *dev)
{
	of_node_put(dev->of_node);
	kfree(to_bank(dev));
}

/**
 * qda_compute_bank_create() - make a context bank
 * @parent: the DSP, of which the bank holds a reference; NULL for a bank that
 *	    is to outlive it
 * @fwnode: node of the bank
 * @name: name of the device, unique among all banks
 * @dma_mask: addresses that the DSP can use
 *
 * The node may do without "iommus": the DSP uses physical addresses then.
 *
 * Return: a device that stays bound until qda_compute_bank_destroy(), or
 * -EPROBE_DEFER if the IOMMU is not there yet, -EINVAL if it doesn't translate
 * for the bank, or not strictly, -EEXIST if the name is taken, or another error
 * of the driver core. Never a bank whose DMA would go past its IOMMU.
 */
struct device *qda_compute_bank_create(struct device *parent,
				       struct fwnode_handle *fwnode,
				       const char *name, u64 dma_mask)
{
	struct qda_compute_bank *bank;
	struct device *dev;
	int ret;

	if (!is_of_node(fwnode))
		return ERR_PTR(-EINVAL);

	/* The driver core would complain with a backtrace. */
	dev = bus_find_device_by_name(&qda_compute_bus_type, NULL, name);
	if (dev) {
		put_device(dev);
		pr_err("qda: context bank %s is still there\n", name);
		return ERR_PTR(-EEXIST);
	}

	bank = kzalloc_obj(*bank);
	if (!bank)
		return ERR_PTR(-ENOMEM);

	bank->dma_mask = dma_mask;
	bank->wanted_mask = dma_mask;

	dev = &bank->dev;
	device_initialize(dev);
	dev->parent = parent;
	dev->bus = &qda_compute_bus_type;
	dev->release = qda_compute_bank_release;
	dev->coherent_dma_mask = dma_mask;
	dev->dma_mask = &bank->dma_mask;
	dev->dma_parms = &bank->dma_parms;
	device_set_node(dev, fwnode_handle_get(fwnode));
	/* The node may be that of the DSP, for memory of its own. */
	if (!parent)
		dev_set_of_node_reused(dev);
	device_set_pm_not_required(dev);

	ret = dev_set_name(dev, "%s", name);
	if (!ret)
		ret = device_add(dev);
	if (ret) {
		put_device(dev);
		return ERR_PTR(ret);
	}

	if (!device_is_bound(dev)) {
		/* Without an error of its own it waits for its suppliers. */
		ret = bank->error ?: -EPROBE_DEFER;
		qda_compute_bank_destroy(dev);
		return ERR_PTR(ret);
	}

	return dev;
}
EXPORT_SYMBOL_GPL(qda_compute_bank_create);

/**
 * qda_compute_bank_assign_region() - have memory come from a reserved region
 * @dev: the bank, for which no memory has been allocated yet
 * @fwnode: node whose first "memory-region" it is
 *
 * Return: 0, or a negative errno: -ENODEV where there is no region, -EINVAL
 * where it is not one of the kinds that the DMA API can allocate from.
 */
int qda_compute_bank_assign_region(struct device *dev,
				   struct fwnode_handle *fwnode)
{
	int ret;

	if (!is_of_node(fwnode))
		return -EINVAL;

	ret = of_reserved_mem_device_init_by_idx(dev, to_of_node(fwnode), 0);
	if (!ret)
		to_bank(dev)->has_region = true;
	return ret;
}
EXPORT_SYMBOL_GPL(qda_compute_bank_assign_region);

/**
 * qda_compute_bank_destroy() - unbind and remove a context bank
 * @dev: the bank, for which nothing may be mapped any more
 */
void qda_compute_bank_destroy(struct device *dev)
{
	if (to_bank(dev)->has_region)
		of_reserved_mem_device_release(dev);
	device_del(dev);
	put_device(dev);
}
EXPORT_SYMBOL_GPL(qda_compute_bank_destroy);

/**
 * qda_compute_bank_is_translated() - does an IOMMU translate for this bank?
 * @dev: the bank
 *
 * Return: false if its DMA addresses are physical ones.
 */
bool qda_compute_bank_is_translated(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && domain->type & __IOMMU_DOMAIN_PAGING;
}
EXPORT_SYMBOL_GPL(qda_compute_bank_is_translated);

/**
 * qda_compute_bank_is_coherent() - does the DSP see the caches of the CPUs?
 * @dev: the bank
 *
 * Return: what "dma-coherent" of the node or its parents says.
 */
bool qda_compute_bank_is_coherent(struct device *dev)
{
	return dev_is_dma_coherent(dev);
}
EXPORT_SYMBOL_GPL(qda_compute_bank_is_coherent);

/**
 * qda_compute_bank_is_bounced() - is what the DSP would use a copy?
 * @dev: the bank
 * @addr: an address that the DMA API gave for memory
 *
 * For memory that a device can't address the DMA API gives that of a copy. This
 * does for devices that are told of memory for one transfer, but not for a DSP,
 * which uses it as long as it is mapped.
 *
 * Return: whether the memory is elsewhere.
 */
bool qda_compute_bank_is_bounced(struct device *dev, dma_addr_t addr)
{
	return !qda_compute_bank_is_translated(dev) &&
	       swiotlb_find_pool(dev, dma_to_phys(dev, addr));
}
EXPORT_SYMBOL_GPL(qda_compute_bank_is_bounced);

/* Runs before iommu_subsys_init(), which wants to be told of devices. */
static int __init qda_compute_bus_init(void)
{
	int ret;

	ret = bus_register(&qda_compute_bus_type);
	if (ret)
		return ret;

	/* Have mappings reported that are left when a bank goes. */
	dma_debug_add_bus(&qda_compute_bus_type);

	ret = driver_register(&qda_compute_bank_driver);
	if (ret)
		bus_unregister(&qda_compute_bus_type);
	return ret;
}
postcore_initcall(qda_compute_bus_init);
