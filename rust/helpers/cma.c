// SPDX-License-Identifier: GPL-2.0

#include <linux/cma.h>
#include <linux/dma-map-ops.h>

/* Writes back what CPUs may have in their caches of pages that others get. */
__rust_helper void rust_helper_cma_clean_pages(struct page *page, size_t size)
{
	arch_dma_prep_coherent(page, size);
}
