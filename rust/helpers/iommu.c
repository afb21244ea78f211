// SPDX-License-Identifier: GPL-2.0

#include <linux/iommu.h>

#ifndef CONFIG_IOMMU_API
__rust_helper struct iommu_domain *
rust_helper_iommu_get_domain_for_dev(struct device *dev)
{
	return iommu_get_domain_for_dev(dev);
}

__rust_helper int rust_helper_iommu_map(struct iommu_domain *domain,
					unsigned long iova, phys_addr_t paddr,
					size_t size, int prot, gfp_t gfp)
{
	return iommu_map(domain, iova, paddr, size, prot, gfp);
}

__rust_helper size_t rust_helper_iommu_unmap(struct iommu_domain *domain,
					     unsigned long iova, size_t size)
{
	return iommu_unmap(domain, iova, size);
}

__rust_helper phys_addr_t
rust_helper_iommu_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova)
{
	return iommu_iova_to_phys(domain, iova);
}
#endif
